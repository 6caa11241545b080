"""Breaking the store on purpose: kills, failing calls, power cuts, rot and races, with planted bugs to find."""
