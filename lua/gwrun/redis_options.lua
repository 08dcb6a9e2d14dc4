-- Part of gwrun.redis: what Redis.connect() may be told, and what becomes of it.
--
-- Run by redis.lua with the core and what gwrun's modules share.
local core, common = ...
local error = common.raise.error

local defaults = {
  host = "127.0.0.1", -- or "/path" of a unix socket
  port = 6379,
  user = false,
  password = false,
  db = 0,
  timeout = 5, -- seconds for each call
  connect_timeout = 3,
  pool_size = 8, -- connections for what blocks or watches, at most
}

local types = {
  host = "string", user = "string", password = "string", url = "string", ca_file = "string",
  cert_file = "string", key_file = "string", server_name = "string", verify = "boolean",
  sentinel_user = "string", sentinel_password = "string",
}
-- What a url says itself, and what only some urls make use of.
local in_url = { "host", "port", "user", "password", "db" }
local for_tls = { "ca_file", "cert_file", "key_file", "server_name", "verify" }
local for_sentinels = { "sentinel_user", "sentinel_password" }

local limits = {
  port = { 1, 65535 }, db = { 0, 0x7fffffff }, pool_size = { 1, 10000 },
  timeout = { 0.001, 86400 }, connect_timeout = { 0.001, 86400 },
}
local whole = { port = true, db = true, pool_size = true }

local function check_range(name, value, level)
  local limit = limits[name]
  if limit and not (value >= limit[1] and value <= limit[2] and
      (not whole[name] or math.tointeger(value))) then
    error(("redis: option '%s' must be a %snumber from %s to %s"):format(
      name, whole[name] and "whole " or "", limit[1], limit[2]), level + 1)
  end
end

local function check_options(options, level)
  for name, value in pairs(options) do
    if defaults[name] == nil and not types[name] then
      error(("redis: unknown option '%s'"):format(name), level + 1)
    end
    if type(value) ~= (types[name] or "number") then
      error(("redis: option '%s' must be a %s"):format(name, types[name] or "number"), level + 1)
    end
    check_range(name, value, level + 1)
  end
end

local function refuse(options, names, text, level)
  for _, name in ipairs(names) do
    if options[name] ~= nil then error(text:format(name), level + 1) end
  end
end

-- Read the url, and the files for TLS, into conf.
local function resolve(conf, options, level)
  local place = {}
  if options.url then
    local message
    place, message = core.parse(options.url)
    if not place then error("redis: url: " .. message, level + 1) end
    refuse(options, in_url, "redis: the url has option '%s' already", level + 1)
    for _, name in ipairs(in_url) do conf[name] = place[name] end
    conf.master, conf.cluster = place.master, place.cluster
    if place.master or place.cluster then conf.hosts = place.hosts end
  end
  if place.tls then
    local trust, message = core.trust {
      ca_file = options.ca_file, cert_file = options.cert_file, key_file = options.key_file,
      insecure = options.verify == false,
    }
    if not trust then error("redis: " .. message, level + 1) end
    conf.trust = trust
  else
    refuse(options, for_tls, "redis: option '%s' is for a url that begins with rediss", level + 1)
  end
  if not place.master then
    refuse(options, for_sentinels, "redis: option '%s' is for a url of sentinels", level + 1)
  end
end

-- What was given -> how to reach the server, or the servers: as lredisconf.c reads it,
-- with cluster (hosts are nodes of one), timeout and pool_size.
return function(options)
  if type(options) == "string" then options = { url = options } end
  if options ~= nil then common.raise.check(options, "table", 1, "connect") end
  options = options or {}
  check_options(options, 2)
  local conf = {}
  for name, value in pairs(defaults) do conf[name] = value or nil end
  for name, value in pairs(options) do conf[name] = value end
  resolve(conf, options, 2)
  return conf
end
