"""Things of several sites that are one thing to users: what makes them so, and which id is whose.

Pure but for the documents, which the registry keeps. Asking sites is the gateway's.
"""
