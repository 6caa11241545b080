"""Was the edit done? A picture in which nothing changed fails every one of these."""
