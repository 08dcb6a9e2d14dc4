-- Loaded by busted before each spec file. luv's handles must not be collected in
-- the order that closing the Lua state happens to take, so leave it open at exit.
local busted = require "busted"

local status = 0
local function failed() status = 1 end

busted.subscribe({ "failure" }, failed)
busted.subscribe({ "error" }, failed)
busted.subscribe({ "exit" }, function()
  io.stdout:flush()
  os.exit(status, false)
end)
