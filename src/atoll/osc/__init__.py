"""A plugin of python-openstackclient: the sites behind an Atoll, where things are, and what is the same."""
