std = "lua54"
max_line_length = 100

local gwrun = { "Gateway", "Timer", "Log", "Mysql", "Redis", "Http", "gwrun", "_SERVER" }

files["scripts"] = { read_globals = gwrun, globals = { "Events", "_SESSION" } }
files["spec"] = { std = "lua54+busted" }
