"""Android phones over ADB: the way to them, what they say of themselves, and what runs on them."""
