"""An identity service for one person or a small team, where there is no Keystone."""
