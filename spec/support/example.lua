-- An example of examples/, as it is, but on free ports.
local uv = require "luv"
local process = require "process"
local testbed = require "testbed"

local M = {}

--- The running example: a testbed with its configuration. env: set for gwrun.
function M.start(name, env)
  for key, value in pairs(env or {}) do uv.os_setenv(key, value) end
  local self = setmetatable({ port = {}, prefix = {} }, testbed)
  self.dir = assert(uv.fs_mkdtemp(uv.os_tmpdir() .. "/gwrun-XXXXXX"))
  assert(process.run { "cp", "-r", "examples/" .. name .. "/.", self.dir } == 0)
  if uv.fs_stat(self.dir .. "/www") then
    assert(process.run { "cp", "www/gwclient.js", "www/style.css", self.dir .. "/www" } == 0)
  end
  local config = dofile(self.dir .. "/conf/gwrun.lua")
  config.register.listen = "127.0.0.1:" .. testbed.ports()
  for i, gateway in ipairs(config.gateways) do
    self.port[i] = testbed.ports()
    gateway.listen = gateway.listen:gsub("//.*", "//127.0.0.1:" .. self.port[i])
    gateway.start_port = testbed.ports(gateway.count)
  end
  self.config = config
  self:save_config()
  self:up()
  return self
end

return M
