"""What each OpenStack service has, as tables: every route with its kind. Declarations only, no behaviour."""
