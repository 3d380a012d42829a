"""Where images come from: folders, lists, folders that are watched, videos, streams and cameras."""
