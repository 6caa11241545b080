"""The review server and viewer: a light app on 127.0.0.1, without account, build step or outside source."""
