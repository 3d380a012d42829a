"""Export: a bundle and its backbone in one folder that scores anywhere, in int8 where asked for."""
