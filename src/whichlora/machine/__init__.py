"""What this computer can do: `probe` reads facts, `memory` knows what fits, `checks` says what is wrong and the fix.

No torch is imported here unless it is asked for, and no secret is ever read beyond its presence.
"""
