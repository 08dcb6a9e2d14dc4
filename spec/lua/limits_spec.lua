-- The limits of docs/scripts.md: what is as large is taken, one more is refused, with
-- an error or with nil, message, code.
local redisserver = require "redisserver"
local scripting = require "scripting"
local testbed = require "testbed"

-- name -> Lua text that does it with n. The result: true, or anything but nil.
local probes = {
  LARGS_LIST_MAX = [[
    local list = {}
    for i = 1, n do list[i] = client_id end
    return Gateway.sendToAll("x", list, client_id)
  ]],
  LARGS_NAME_MAX = "return Gateway.joinGroup(client_id, ('g'):rep(n))",
  LTIMER_MAX = [[
    local ids, ok, message = {}, true, nil
    for i = 1, n do
      ok, message = pcall(Timer.add, 3600, print)
      if not ok then break end
      ids[i] = message
    end
    for _, id in ipairs(ids) do Timer.del(id) end
    return ok or error(message, 0)
  ]],
  LTIMER_SECONDS_MAX = "return Timer.del(Timer.add(n, print))",
  LWAIT_SECONDS_MAX = [[
    local ticket = gwrun.ticket()
    ticket:set()
    return ticket:wait(n)
  ]],
  LSPAWN_MAX = [[
    local ticket, ok, message = gwrun.ticket(), true, nil
    local ended = 0
    for i = 1, n do
      ok, message = pcall(gwrun.spawn, function() if not ticket.done then Timer.sleep(0.05) end ended = ended + 1 end)
      if not ok then break end
    end
    Timer.sleep(0.2)
    return ok or error(message, 0)
  ]],
  LJSON_DEPTH_MAX = [[
    local value = {}
    for _ = 2, n do value = { value } end
    return json.encode(value)
  ]],
  LJSON_LEN_MAX = "return #json.encode(('x'):rep(n - 2)) == n",
  LVALUE_LEN_MAX = [[ -- what is too large for the gateway only is nil, message, code
    Gateway.setSession(client_id, { ("x"):rep(n - #'a:1:{i:0;s:16777192:"";}') })
    return true
  ]],
  LHTTP_HEADERS_MAX = [[
    local headers = {}
    for i = 1, n do headers["X-" .. i] = "1" end
    local response, message, code = Http.get("http://127.0.0.1:1/", { headers = headers })
    return code == "econnrefused" or error(message, 0)
  ]],
  LWEBSOCKET_HEADERS_MAX = [[ -- with that of gwrun's own
    local headers = {}
    for i = 2, n do headers["X-" .. i] = "1" end
    local ws, message, code = Websocket.connect("ws://127.0.0.1:1/", { headers = headers })
    return code == "econnrefused" or error(message, 0)
  ]],
  LREDIS_WORDS_MAX = [[
    local list = {}
    for i = 1, n - 3 do list[i] = "k" end
    local reply, message, code = redis:script("return #KEYS", list, {})
    return reply == n - 3 or error(message, 0)
  ]],
  LREDIS_BATCH_MAX = "return #redis:pipeline(function(p) for _ = 1, n do p:ping() end end) == n",
  LCRYPTO_RANDOM_MAX = "return #crypto.randomBytes(n) == n",
  LSCRYPT_PASSWORD_MAX = "return (crypto.hashPassword(('x'):rep(n)))",
}

-- Where their own specs show it.
local elsewhere = {
  LSOCKET_STREAMS_MAX = { "spec/lua/socket_spec.lua", "opens no more than %d at once" },
  LSOCKET_READ_MAX = { "spec/lua/socket_spec.lua", "number of bytes from 1 to %d" },
  LSCRYPT_WAITING_MAX = { "spec/lua/crypto_spec.lua", "wait for their turn, %d of them at most" },
  LCONSOLE_OUTPUT_MAX = { "spec/cli/attach_spec.lua", "more output than %d bytes" },
}

describe("a fixed limit of scripts:", function()
  local bed, redis

  setup(function()
    redis = redisserver.start()
    bed = scripting.start { prefix = ([[
      json, crypto, redis = require "gwrun.json", require "gwrun.crypto", Redis.connect { host = %q }
    ]]):format(redis.path) }
  end)

  teardown(function()
    if bed then bed:stop() end
    redis:stop()
  end)

  -- Whether that is taken.
  local function try(name, n)
    local text = ([[
      local client_id, n = ..., %d
      local function try() %s end
      local ok, result = pcall(try)
      return ok and result ~= nil and result, tostring(result)
    ]]):format(n, probes[name])
    return bed:begin("%s", text)(60)
  end

  for value, name in testbed.read_file "docs/scripts.md":gmatch "| (%d+) | `(L[%u_]+)` |\n" do
    it(name, function()
      local limit = math.tointeger(value)
      if elsewhere[name] then
        local path, text = table.unpack(elsewhere[name])
        return assert.is_truthy(testbed.read_file(path):find(text:format(limit), 1, true))
      end
      local ok, message = try(name, limit)
      assert.is_truthy(ok, message)
      ok, message = try(name, limit + 1)
      assert.is_falsy(ok, message)
    end)
  end
end)
