-- Loaded by busted before each spec file. luv's handles must not be collected in
-- the order that closing the Lua state happens to take, so leave it open at exit.
local exit = os.exit
os.exit = function(code) -- luacheck: ignore 122
  io.stdout:flush()
  exit(code, false)
end
