-- Which globals exist where; 100 columns in what users read.
std = "lua54"
max_line_length = 100
codes = true
exclude_files = { "lua/meta", "spec/node_modules", "build*" }

-- What gwrun gives to scripts.
local script = { "Gateway", "Timer", "Log", "Mysql", "Redis", "Http", "Socket", "Websocket", "gwrun", "_SERVER" }

files["examples/*/spec"] = { std = "lua54+busted" }
files["examples"] = { read_globals = script, globals = { "Events", "_SESSION" } }
files["lua/new*/scripts"] = { read_globals = script, globals = { "Events", "_SESSION" } }
files["lua/new*/spec"] = { std = "lua54+busted" }
files["scripts"] = { read_globals = script, globals = { "Events", "_SESSION" } }
files["lua/gwrun"] = { globals = { "Timer" }, read_globals = { "Log" } }
files["lua/prelude.lua"] = { globals = { "os", "io", "debug", "package", "Gateway" } }
files["lua/gwrun/testing_script.lua"] = { globals = { "os" } }
files["spec"] = { std = "lua54+busted", max_line_length = 140 }
files["bench"] = { read_globals = script, globals = { "Events", "_SESSION" } }
files["spec/**/scripts"] = { read_globals = script, globals = { "Events", "_SESSION" } }
