-- The chat's script without a network and a database: run "gwrun test".
local testing = require "gwrun.testing"

local START = 1700000000 -- seconds since 1970

-- The row that "INSERT INTO `t` (`a`, `b`) VALUES (?, ?)" makes.
local function row_of(sql, params)
  local row, i = {}, 0
  for name in sql:match("%((.-)%)"):gmatch "%w+" do
    i = i + 1
    row[name] = params[i]
  end
  return row
end

-- What answers the script's statements, and the table of people.
local function new_database()
  local people, messages, secrets = {}, {}, {}

  local function find_by_name(name)
    for _, person in ipairs(people) do
      if person.name == name then return { person } end
    end
    return {}
  end

  local function append(list, row)
    row.id = #list + 1
    list[row.id] = row
    return 1, row.id -- rows, insert id
  end

  local answers = {
    ["INSERT INTO `people`"] = function(row)
      for _, person in ipairs(people) do
        if person.name:lower() == row.name:lower() then
          return nil, { message = "Duplicate entry", code = "duplicate" }
        end
      end
      return append(people, row)
    end,
    ["SELECT id, name, password FROM people WHERE name"] = find_by_name,
    ["SELECT id, name FROM people WHERE name"] = find_by_name,
    ["SELECT id, name FROM people WHERE id"] = function(id) return { people[tonumber(id)] } end,
    ["INSERT IGNORE INTO secrets"] = function(value)
      secrets.token = secrets.token or value
      return 1
    end,
    ["SELECT value FROM secrets"] = function() return { { value = secrets.token } } end,
    ["INSERT INTO `messages`"] = function(row) return append(messages, row) end,
    ["SELECT m.id, p.name"] = function(place, limit)
      local rows = {}
      for i = #messages, 1, -1 do
        local m = messages[i]
        if m.place == place and #rows < limit then
          local from = people[m.sender].name
          rows[#rows + 1] = { id = m.id, from = from, text = m.text, time = m.time }
        end
      end
      return rows
    end,
    ["SELECT p.name FROM ("] = function(id)
      local seen, rows = {}, {}
      for i = #messages, 1, -1 do
        local m = messages[i]
        local other = m.recipient == id and m.sender or m.sender == id and m.recipient
        if type(other) == "number" and not seen[other] then
          seen[other] = true
          rows[#rows + 1] = { name = people[other].name }
        end
      end
      return rows
    end,
  }

  return function(sql, params)
    sql = sql:gsub("^%s+", "")
    for start, answer in pairs(answers) do
      if sql:find(start, 1, true) == 1 then
        if start:find "^INSERT INTO" then params = { row_of(sql, params) } end
        return answer(table.unpack(params))
      end
    end
    error("no answer to " .. sql)
  end, people
end

describe("the chat", function()
  local app, database, people

  local function start(time)
    app = testing.start {
      script = "scripts/events.lua", gateways = 2, workers = 2, mysql = database, time = time,
    }
  end

  before_each(function()
    database, people = new_database()
    start(START)
  end)

  after_each(function() app:stop() end)

  -- The only message since the last look.
  local function reply(client)
    local list = client:json()
    assert.equal(1, #list)
    return list[1]
  end

  local function ask(client, packet)
    client:send(packet)
    return reply(client)
  end

  local function refusal(client, packet)
    local m = ask(client, packet)
    assert.equal("refused", m.type)
    return m.reason
  end

  -- A new person's client, and the token.
  local function register(name, options)
    local client = app:connect(options)
    local m = ask(client, { type = "register", name = name, password = "correct horse" })
    assert.same({ "welcome", name }, { m.type, m.name })
    return client, m.token
  end

  local function join(client, room)
    local m = ask(client, { type = "join", room = room })
    assert.same({ "history", room }, { m.type, m.room })
    return m
  end

  describe("lets in", function()
    it("who registers, and later logs in with the same password", function()
      register "Ann"
      local again = app:connect()
      local m = ask(again, { type = "login", name = "Ann", password = "correct horse" })
      assert.same({ "welcome", "Ann" }, { m.type, m.name })
    end)

    it("who comes back with the token, for a week", function()
      local _, token = register "Ann"
      local back = app:connect()
      assert.equal("Ann", ask(back, { type = "resume", token = token }).name)
      start(START + 7 * 24 * 3600 - 10)
      assert.equal("Ann", ask(app:connect(), { type = "resume", token = token }).name)
      app:advance(10)
      assert.equal("expired", refusal(app:connect(), { type = "resume", token = token }))
    end)

    it("who has the shortest or the longest name and password", function()
      for letters, bytes in pairs { [1] = 8, [24] = 1024 } do
        local packet = { type = "register", name = ("ö"):rep(letters), password = ("x"):rep(bytes) }
        assert.equal("welcome", ask(app:connect(), packet).type)
        packet.type = "login"
        assert.equal("welcome", ask(app:connect(), packet).type)
      end
    end)

    it("nobody whose account is gone", function()
      local _, token = register "Ann"
      people[1] = nil
      assert.equal("expired", refusal(app:connect(), { type = "resume", token = token }))
    end)

    it("nobody with a wrong password, name or token", function()
      register "Ann"
      local client = app:connect()
      local function code(name, password)
        return refusal(client, { type = "login", name = name, password = password })
      end
      assert.equal("wrong", code("Ann", "correct horsf"))
      assert.equal("wrong", code("Bob", "correct horse"))
      assert.equal("wrong", code(1, {}))
      assert.equal("expired", refusal(client, { type = "resume", token = "a.b.c" }))
      assert.equal("unknown", refusal(client, { type = "say", room = "tea", text = "hi" }))
      assert.equal("unknown", refusal(client, { type = "join", room = "tea" }))
    end)

    it("nobody under a name that is taken or is none", function()
      register "Ann"
      local client = app:connect()
      local function code(name, password)
        return refusal(client, { type = "register", name = name, password = password })
      end
      assert.equal("name_taken", code("ann", "correct horse"))
      for _, bad in ipairs { "", "a b", "a@b", "a\n", ("x"):rep(25), 7 } do
        assert.equal("bad_name", code(bad, "correct horse"))
      end
      assert.equal("bad_password", code("Bob", "short"))
      assert.equal("bad_password", code("Bob", ("x"):rep(1025)))
    end)

    it("nobody who tries too often, until a minute has passed", function()
      local client = app:connect { ip = "192.0.2.1" }
      local attempt = { type = "login", name = "Ann", password = "correct horse" }
      for _ = 1, 10 do assert.equal("wrong", refusal(client, attempt)) end
      assert.equal("too_often", refusal(client, attempt))
      attempt.type = "register"
      assert.equal("too_often", refusal(client, attempt))
      attempt.type = "login"
      assert.equal("wrong", refusal(app:connect { ip = "192.0.2.2" }, attempt))
      app:advance(61)
      assert.equal("wrong", refusal(app:connect { ip = "192.0.2.1" }, attempt))
    end)

    it("nobody whose attempts cannot be counted", function()
      app:run "local n = 0 repeat n = n + 1 until not gwrun.shared.set('full' .. n, n)"
      local attempt = { type = "login", name = "Ann", password = "correct horse" }
      assert.equal("too_often", refusal(app:connect(), attempt))
    end)
  end)

  it("stores no passwords", function()
    register "Ann"
    for _, query in ipairs(app.mysql.queries) do
      assert.is_nil(table.concat(query.params, " "):find("correct horse", 1, true))
    end
  end)

  describe("in a room", function()
    it("shows what is said to all members, and to nobody else", function()
      local ann, bob, cat = register "Ann", register "Bob", register "Cat"
      join(ann, "tea")
      join(bob, "tea")
      join(cat, "coffee")
      ann:received()
      ann:send { type = "say", room = "tea", text = "<hello>" }
      local message = {
        type = "say", id = 1, room = "tea", from = "Ann", text = "<hello>", time = START,
      }
      assert.same(message, reply(ann))
      assert.same(message, reply(bob))
      assert.same({}, cat:received())
    end)

    it("tells who is there, who comes and who leaves", function()
      local ann, bob = register "Ann", register "Bob"
      assert.same({ "Ann" }, join(ann, "tea").names)
      assert.same({ "Ann", "Bob" }, join(bob, "tea").names)
      assert.same({ type = "joined", room = "tea", name = "Bob" }, reply(ann))
      bob:send { type = "leave", room = "tea" }
      assert.same({ type = "left", room = "tea", name = "Bob" }, reply(ann))
      join(bob, "tea")
      ann:received()
      bob:close()
      assert.same({ type = "left", room = "tea", name = "Bob" }, reply(ann))
    end)

    it("says nothing when one of two windows is closed", function()
      local ann = register "Ann"
      local bob, token = register "Bob"
      local second = app:connect()
      ask(second, { type = "resume", token = token })
      join(ann, "tea")
      join(bob, "tea")
      assert.same({ "Ann", "Bob" }, join(second, "tea").names)
      ann:received()
      bob:close()
      assert.same({}, ann:received())
      second:close()
      assert.equal("left", reply(ann).type)
    end)

    it("gives the last 50 messages to who comes, oldest first", function()
      local ann, bob = register "Ann", register "Bob"
      assert.same({}, join(ann, "tea").messages)
      for i = 1, 52 do
        ann:send { type = "say", room = "tea", text = "message " .. i }
        if i % 20 == 0 then app:advance(11) end
      end
      local messages = join(bob, "tea").messages
      assert.equal(50, #messages)
      assert.same({ 3, "Ann", "message 3" }, { messages[1].id, messages[1].from, messages[1].text })
      assert.equal("message 52", messages[50].text)
    end)

    it("refuses what is no room and no text, and who is not in it", function()
      local ann = register "Ann"
      join(ann, "tea")
      assert.equal("bad_room", refusal(ann, { type = "say", room = "coffee", text = "hi" }))
      for _, room in ipairs { "", ("x"):rep(41), 7 } do
        assert.equal("bad_room", refusal(ann, { type = "join", room = room }))
      end
      assert.equal("bad_room", refusal(ann, { type = "leave", room = "coffee" }))
      for _, text in ipairs { "", ("x"):rep(2001), 7 } do
        assert.equal("bad_text", refusal(ann, { type = "say", room = "tea", text = text }))
      end
      join(ann, ("ö"):rep(40))
      local longest = { type = "say", room = ("ö"):rep(40), text = ("ö"):rep(2000) }
      assert.equal(longest.text, ask(ann, longest).text)
      for i = 3, 20 do join(ann, "room " .. i) end
      assert.equal("too_many_rooms", refusal(ann, { type = "join", room = "one more" }))
    end)

    it("slows down who says too much", function()
      local ann = register "Ann"
      join(ann, "tea")
      local message = { type = "say", room = "tea", text = "x" }
      for _ = 1, 20 do assert.equal("say", ask(ann, message).type) end
      assert.equal("too_often", refusal(ann, message))
      assert.equal("too_often", refusal(ann, { type = "tell", to = "Ann", text = "x" }))
      app:advance(11)
      assert.equal("say", ask(ann, message).type)
    end)
  end)

  describe("between two people", function()
    it("carries messages to all windows of both, and to nobody else", function()
      local ann, token = register "Ann"
      local bob, cat = register "Bob", register "Cat"
      local second = app:connect()
      ask(second, { type = "resume", token = token })
      bob:send { type = "tell", to = "Ann", text = "psst" }
      for _, client in ipairs { ann, second, bob } do
        assert.same({
          type = "tell", id = 1, from = "Bob", to = "Ann", text = "psst", time = START,
        }, reply(client))
      end
      assert.same({}, cat:received())
      assert.equal("nobody", refusal(bob, { type = "tell", to = "Dan", text = "psst" }))
      assert.equal("bad_text", refusal(bob, { type = "tell", to = "Ann", text = "" }))
    end)

    it("keeps them for who is away", function()
      local ann, token = register "Ann"
      local bob = register "Bob"
      ann:close()
      bob:send { type = "tell", to = "Ann", text = "are you there?" }
      local back = app:connect()
      assert.same({ "Bob" }, ask(back, { type = "resume", token = token }).partners)
      local history = ask(back, { type = "talk", with = "Bob" })
      assert.same({ "history", "Bob" }, { history.type, history.with })
      assert.equal("are you there?", history.messages[1].text)
      assert.equal("nobody", refusal(back, { type = "talk", with = "Dan" }))
    end)

    it("are known to who began to talk, also after a reload of the page", function()
      local bob, token = register "Bob"
      register "Ann"
      bob:send { type = "tell", to = "Ann", text = "are you there?" }
      bob:close()
      assert.same({ "Ann" }, ask(app:connect(), { type = "resume", token = token }).partners)
    end)
  end)

  it("answers heartbeats, and refuses what it does not know", function()
    local client = app:connect()
    assert.equal("pong", ask(client, { type = "ping" }).type)
    for _, text in ipairs { "", "7", "[]", "{", '{"type":"x"}', '{"type":{}}' } do
      assert.equal("unknown", refusal(client, text))
    end
    assert.equal("pong", ask(register "Ann", { type = "ping" }).type)
  end)
end)

it("a chat lets in who tries again after the database failed half-way", function()
  local database = new_database()
  local away = true
  local app = testing.start {
    script = "scripts/events.lua", errors = "collect",
    mysql = function(sql, params)
      if away and sql:find "secrets" then return nil, { message = "lost", code = "econnreset" } end
      return database(sql, params)
    end,
  }
  local client = app:connect()
  client:send { type = "register", name = "Ann", password = "correct horse" }
  assert.equal("failed", client:json()[1].reason)
  away = false
  client:send { type = "login", name = "Ann", password = "correct horse" }
  assert.equal("welcome", client:json()[1].type)
  assert.equal(1, #app:errors())
  app:stop()
end)

it("a chat whose database is away says so to who asks", function()
  local app = testing.start {
    script = "scripts/events.lua", errors = "collect",
    mysql = function() return nil, { message = "no connection", code = "econnrefused" } end,
  }
  local client = app:connect()
  client:send { type = "login", name = "Ann", password = "correct horse" }
  assert.same({ { type = "refused", reason = "failed" } }, client:json())
  assert.is_truthy(app:errors()[1]:find("no connection", 1, true))
  app:stop()
end)
