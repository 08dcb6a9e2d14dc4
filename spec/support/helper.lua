-- Loaded by busted before each spec file. luv's handles must not be collected in
-- the order that closing the Lua state happens to take, so leave it open at exit.
local busted = require "busted"
-- What a spec file loads is forgotten behind it; this one is there before all.
local process = require "process"

local status = 0
local function failed() status = 1 end

busted.subscribe({ "failure" }, failed)
busted.subscribe({ "error" }, failed)
busted.subscribe({ "exit" }, function()
  process.end_all()
  io.stdout:flush()
  os.exit(status, false)
end)
