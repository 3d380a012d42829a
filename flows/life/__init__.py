"""The life of a plant's lines: new ones are adapted, live ones learn what their production and people showed."""
