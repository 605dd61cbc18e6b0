"""The built-in identity: a small Keystone v3, for one person or a small team whose clouds share none.

Its records are documents in the store, its tokens are checked without asking anybody. Knows nothing of the
gateway: it is handed what was asked and gives what is to be answered.
"""
