-- Sessions in a whole system: what several handlers and workers do to one.
local testing = require "gwrun.testing"

-- Runs what a client sends as Lua, with a and b for the first two clients, and
-- tells it the result.
local eval = [[
  local json = require "gwrun.json"
  clients = {}
  Events = {}
  function Events.onConnect(id) clients[#clients + 1] = id end
  function Events.onMessage(id, text)
    a, b = clients[1], clients[2]
    local result = table.pack(assert(load(text))())
    for i = 1, result.n do
      if type(result[i]) == "table" then result[i] = json.encode(result[i]) end
      result[i] = tostring(result[i])
    end
    if result.n > 0 then Gateway.sendToClient(id, table.concat(result, " ")) end
  end
  function Events.onClose(id, info) print("closed " .. json.encode(info.session)) end
]]

describe("sessions", function()
  local app, a, b

  local function start(options)
    options = options or {}
    options.text = options.text or eval
    app = testing.start(options)
    a, b = app:connect {}, app:connect {}
  end

  after_each(function()
    app:stop()
  end)

  local function run(client, text)
    client:send(text)
    app:advance(0.1)
    return client:last()
  end

  it("keep what others changed while a handler waited", function()
    start()
    run(a, "_SESSION = { keep = 1, gone = 1, t = { 1, 2, 3 } }")
    a:send "_SESSION.gone = nil; _SESSION.t[3] = nil; Timer.sleep(1); _SESSION.t[2] = nil; _SESSION.mine = 1"
    a:send "return _SESSION" -- queued behind it
    app:advance(0.2)
    assert.equal("true", run(b, "return Gateway.updateSession(a, { other = 1, keep = 2 })"))
    app:advance(2)
    local queued = a:last()
    assert.matches('"other":1', queued)
    assert.matches('"mine":1', queued)
    local fields = "return s.keep, s.mine, s.other, #s.t, s.gone"
    assert.equal("2 1 1 1 nil", run(a, "local s = _SESSION " .. fields))
    assert.equal("2 1 1 1 nil", run(b, "local s = Gateway.getSession(a) " .. fields))
  end)

  it("do not come back with keys that were deleted while another was changed", function()
    start()
    run(a, "_SESSION = { x = 1, y = 2 }")
    a:send "_SESSION.x = nil; Timer.sleep(1)"
    app:advance(0.2)
    run(b, "Gateway.updateSession(a, { z = 3 })")
    app:advance(2)
    assert.equal("nil 2 3", run(a, "return _SESSION.x, _SESSION.y, _SESSION.z"))
  end)

  it("take the text of an integer for the integer, event after event", function()
    start()
    for i = 1, 3 do
      assert.equal(tostring(i), run(a, [[
        _SESSION["42"] = (_SESSION["42"] or 0) + 1
        _SESSION.t = _SESSION.t or {}
        _SESSION.t["7"] = { ["8"] = _SESSION[42] }
        return _SESSION["42"]
      ]]))
      assert.equal(("%d %d"):format(i, i), run(a, "return _SESSION.t['7']['8'], _SESSION.t[7][8]"))
    end
    assert.equal('{"7":{"8":3}}', run(a, "return _SESSION.t"))
    assert.equal("3", run(b, "return Gateway.getSession(a)['42']"))
  end)

  -- it is read again when somebody else has changed it
  for _, way in ipairs { "while the worker has it", "read again" } do
    it("keep the key 0, which begins a list in PHP, " .. way, function()
      start()
      for i = 1, 3 do
        if way == "read again" then run(b, "Gateway.updateSession(a, { n = " .. i .. " })") end
        assert.equal(tostring(i), run(a, [[
          _SESSION["0"] = (_SESSION["0"] or 0) + 1
          _SESSION.t = _SESSION.t or {}
          _SESSION.t["0"] = (_SESSION.t["0"] or 0) + 1
          _SESSION.u = { [0] = { ["0"] = _SESSION.t[0], ["1"] = 1 } }
          return _SESSION.t["0"]
        ]]))
      end
      local fields = "return s['0'], s[0], s.t['0'], s.u[0][0], s.u[0]['1'], s.u[0][2]"
      assert.equal("3 3 3 3 1 nil", run(a, "local s = _SESSION " .. fields))
      assert.equal("3 3 3 3 1 nil", run(b, "local s = Gateway.getSession(a) " .. fields))
      run(b, "Gateway.updateSession(a, { t = { ['0'] = 5 }, u = { [0] = { [0] = 6 } } })")
      assert.equal("3 3 5 6 1 nil", run(a, "local s = _SESSION " .. fields))
      run(a, "Gateway.updateSession(a, { t = { ['0'] = 7 }, ['0'] = 8 })")
      assert.equal("8 8 7 6 1 nil", run(a, "local s = _SESSION " .. fields))
      run(a, "_SESSION.t = { 'one' }; _SESSION.u = { { { [0] = 1 } } }")
      assert.equal("one nil 1", run(b, "local s = Gateway.getSession(a) return s.t[1], s.t[0], s.u[1][1][0]"))
      run(a, "_SESSION.t = { [0] = 'zero' }; _SESSION.u[1][1] = { 1 }")
      assert.equal("zero nil 1", run(b, "local s = Gateway.getSession(a) return s.t[0], s.t[1], s.u[1][1][1]"))
      run(a, "_SESSION = { ['0'] = 9 }")
      assert.equal("9", run(b, "return Gateway.getSession(a)[0]"))
      run(a, "_SESSION = { 'one', 'two' }")
      assert.equal("one two nil", run(b, "local s = Gateway.getSession(a) return s[1], s[2], s[0]"))
    end)
  end

  it("have a list where the script put one for another table", function()
    start()
    run(a, "_SESSION.t = { ['1'] = 5, ['-3'] = 6, k = 7 }")
    run(a, "_SESSION.t = { 'one', 'two', { 3 } }")
    local fields = "return #t, t[1], t[2], t[3][1], t[0]"
    assert.equal("3 one two 3 nil", run(a, "local t = _SESSION.t " .. fields))
    assert.equal("3 one two 3 nil", run(b, "local t = Gateway.getSession(a).t " .. fields))
  end)

  it("are one table as long as nobody else changes them", function()
    start()
    run(a, "_SESSION = { t = { n = 1 } }; seen = _SESSION")
    run(a, "kept = _SESSION")
    assert.equal("true false", run(a, "return kept == _SESSION, seen == _SESSION"))
    run(b, "Gateway.updateSession(a, { other = 1 })")
    assert.equal("false 1 1", run(a, "return kept == _SESSION, _SESSION.t.n, _SESSION.other"))
  end)

  it("do not share the tables that a script puts into them", function()
    start()
    run(a, "defaults = { lives = 3 }; _SESSION.stats = defaults")
    run(b, "_SESSION.stats = defaults")
    run(a, "_SESSION.stats.lives = 2")
    run(a, "defaults.lives = 0")
    assert.equal("2", run(a, "return _SESSION.stats.lives"))
    assert.equal("3", run(b, "return _SESSION.stats.lives"))
  end)

  it("forget what a handler did that failed", function()
    start { errors = "collect" }
    run(a, "_SESSION.n = 1")
    run(a, "_SESSION.n = 2; _SESSION.t = {}; error 'oops'")
    assert.equal("1 nil", run(a, "return _SESSION.n, _SESSION.t"))
    run(a, "_SESSION.n = 3; _SESSION.f = print")
    assert.equal("1 nil", run(a, "return _SESSION.n, _SESSION.f"))
  end)

  it("are refused where they are set when they are too large", function()
    start { errors = "collect", config = { gateways = { { max_session = 2048 } } } }
    run(a, "_SESSION.n = 1")
    local large = "('x'):rep(3000)"
    assert.matches("^nil the session would be 30%d%d bytes, more than the 2048 .* emsgsize$",
      run(a, "return Gateway.setSession(a, { s = " .. large .. "})"))
    assert.matches("^nil .* emsgsize$", run(b, "return Gateway.setSession(a, { s = " .. large .. "})"))
    assert.matches("^nil .* emsgsize$", run(a, "return Gateway.updateSession(a, { s = " .. large .. "})"))
    assert.matches("^nil .* emsgsize$", run(b, "return Gateway.updateSession(a, { s = " .. large .. "})"))
    run(a, "_SESSION.secret = " .. large)
    local errors = table.concat(app:errors(), "\n")
    assert.matches("_SESSION would be 30%d%d bytes when saved, more than the 2048 that its gateway takes", errors)
    assert.not_matches("xxx", errors)
    assert.equal('{"n":1}', run(a, "return _SESSION"))
  end)

  it("go with their client to onClose", function()
    start()
    run(a, "_SESSION.n = 1")
    run(a, "_SESSION.n = 2")
    a:close()
    app:advance(0.1)
    assert.same({ 'closed {"n":2}' }, app:log())
  end)

  it("survive a reload", function()
    start()
    run(a, "_SESSION.n = { 1 }")
    app:reload()
    app:advance(0.1)
    assert.equal("[1]", run(a, "return _SESSION.n"))
  end)
end)
