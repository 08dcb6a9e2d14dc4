-- gwrun check: what it finds in a script that loads.
local testbed = require "testbed"
local uv = require "luv"

describe("gwrun check", function()
  local app

  before_each(function() app = testbed.new { gateways = { { listen = "text" } }, script = "Events = {}" } end)
  after_each(function() app:stop() end)

  --- Check a script: exit code, the warnings.
  local function check(text, others)
    app:write_script(text)
    for name, other in pairs(others or {}) do testbed.write_file(app.dir .. "/scripts/" .. name, other) end
    local code, out = app:cli "check"
    local warnings = {}
    for line in out:gmatch "[^\n]+" do
      warnings[#warnings + 1] = line:match "^warning: (.*)"
    end
    for i, line in ipairs(warnings) do warnings[i] = line:gsub("^[^ ]*/", "") end
    return code, warnings, out
  end

  local function warns(expected, ...)
    local code, warnings, out = check(...)
    assert.same(expected, warnings, out)
    assert.equal(0, code)
  end

  it("leaves it to systemd who may read the credentials that it hands over", function()
    local secret = app.dir .. "/handed/secret"
    assert(uv.fs_mkdir(app.dir .. "/handed", 448))
    testbed.write_file(secret, ("s"):rep(32) .. "\n")
    app:write_script "Events = { onMessage = print }"
    app.config.secret_key_file = "handed/secret"
    app:save_config()
    for _, case in ipairs { { 416, "/handed", 0 }, { 416, "/hand", 2 }, { 416, false, 2 }, { 420, "/handed", 2 } } do
      assert(uv.fs_chmod(secret, case[1]))
      app.prefix = { "env", "CREDENTIALS_DIRECTORY=" .. (case[2] and app.dir .. case[2] or "") }
      local code, out = app:cli "check"
      assert.equal(case[3], code, out)
      if code == 2 then assert.matches("secret can be read by other users", out, 1, true) end
    end
  end)

  it("warns of callbacks that are never called", function()
    warns({
      "events.lua:3: Events.onClsoe is never called; did you mean Events.onClose?",
      "events.lua:4: Events.on_connect is never called; did you mean Events.onConnect?",
    }, [[
Events = { onMessage = print }
function Events.onHelp() end
function Events.onClsoe() end
function Events.on_connect() end
]])
  end)

  it("warns of them when there are no others, and fails", function()
    local code, warnings, out = check "Events = {} function Events.onMesage() end"
    assert.same({ "events.lua:1: Events.onMesage is never called; did you mean Events.onMessage?" }, warnings)
    assert.equal(2, code)
    assert.matches("without a callback", out, 1, true)
  end)

  it("warns of functions that do not exist, in modules, too", function()
    warns({
      "events.lua:4: Gateway.sendToAl does not exist; did you mean Gateway.sendToAll?",
      "events.lua:5: Timer.ad does not exist; did you mean Timer.add?",
      "events.lua:5: gwrun.frobnicate does not exist",
      "rooms.lua:2: Gateway.joinGruop does not exist; did you mean Gateway.joinGroup?",
    }, [[
require "rooms"
Events = {}
function Events.onMessage(id)
  if never then Gateway.sendToAl("hello") end
  if never then Timer.ad(1) gwrun.frobnicate() end
end
]], { ["rooms.lua"] = "local M = {}\nfunction M.join(id) return 'x' .. Gateway . joinGruop(id, 'x') end\nreturn M" })
  end)

  it("does not warn of comments, strings, additions and namesakes", function()
    warns({}, [==[
require "other"
Events = {}
function Gateway.sendToFriends() end
-- Gateway.commented()
--[[ Gateway.commented()
]] --[=[ Gateway.commented() ]] ]=]
local text = "Gateway.quoted() \" Gateway.quoted()" .. 'Gateway.quoted()' .. [[ Gateway.quoted() ]]
function Events.onMessage(id, message)
  Gateway.sendToFriends(message[id[1]] or text - 1)
  message.Gateway.open() message:Log().x()
  gwrun.json.encode(gwrun.jwt)
  return Mysql.null, Redis.connect, Http.get, Log.info
end
]==], { ["other.lua"] = "local Gateway = {}\nreturn function(Timer) return Gateway.x, Timer.y end" })
  end)
end)
