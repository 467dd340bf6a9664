"""What a plugin implements and is handed."""
