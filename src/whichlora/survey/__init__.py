"""Which LoRAs exist for a base, what their authors say of them, and what their files say themselves.

`catalog` and `local` read what is on this machine, `hub` asks the Hub; all give `entry.SurveyEntry`s, which `assess`
judges. Nothing here downloads a weight file.
"""
