-- Runs the Lua blocks of the pages about libraries in a real worker.
local cjson = require "cjson"
local httpserver = require "httpserver"
local process = require "process"
local redisserver = require "redisserver"
local scripting = require "scripting"
local tcp = require "tcp"
local testbed = require "testbed"

describe("the examples of", function()
  local bed, redis, web, echo

  setup(function()
    redis, web = redisserver.start(), httpserver.start()
    echo = testbed.start {
      gateways = { { listen = "websocket" }, { listen = "text" } },
      script = [[
        Events = {}
        function Events.onMessage(id, message)
          if message == "bye" then Gateway.closeClient(id) else Gateway.sendToClient(id, message) end
        end
      ]],
    }
    bed = scripting.start()
  end)

  teardown(function()
    if bed then bed:stop() end
    redis:stop()
    web:stop()
    echo:stop()
  end)

  -- Send the text as a client. What examples send may come before the result.
  local function run(client, text)
    local line
    client:send(text .. "\n")
    repeat line = client:receive "\n" until line:sub(1, 1) == "["
    return cjson.decode(line)
  end

  for _, page in ipairs { "redis", "http", "socket", "websocket", "timers", "crypto", "api", "scripts" } do
    it("docs/" .. page .. ".md run", function()
      local writer, other = tcp.connect(bed.app.port[1]), tcp.connect(bed.app.port[1])
      local client_id = run(other, "return ...")[2]
      local text, count = testbed.read_file("docs/" .. page .. ".md"), 0
      -- behind a heading there is how a function is called, not an example
      text = text:gsub("\n### [^\n]+\n\n```lua\n[^\n]+\n```\n", "\n")
      text = text:gsub("\n```lua\nEvents = .-\n```", "") -- whole scripts, below
      for block in text:gmatch "\n```lua\n(.-)\n```" do
        count = count + 1
        block = block:gsub('host = "127%.0%.0%.1"', ("host = %q"):format(redis.path))
        block = block:gsub("https://api%.example%.com", web.url)
        block = block:gsub("wss://feed%.example%.com", "ws://127.0.0.1:" .. echo.port[1])
        block = block:gsub('"service%.example%.com", 7000', '"127.0.0.1", ' .. echo.port[2])
        local path = ("%s/%s-%d.lua"):format(bed.app.dir, page, count)
        testbed.write_file(path, "local client_id = ...\n" .. block .. "\nreturn true")
        local call = ("return assert(loadfile %q)(%q)"):format(path, client_id)
        assert.same({ true, true }, run(writer, call), page .. " " .. count)
      end
      writer:close()
      other:close()
      assert.is_true(count >= 2)
    end)
  end
end)

describe("the script of", function()
  local app

  after_each(function() app:stop() end)

  --- Start the page's first block that is a script, with text clients.
  local function start(page)
    for block in testbed.read_file(page):gmatch "\n```lua\n(.-)\n```" do
      if block:find "Events = {}" then
        app = testbed.start { script = block, gateways = { { listen = "text" } } }
        return
      end
    end
  end

  local function receive(client) return cjson.decode(client:receive "\n") end

  for page, left in pairs { ["README.md"] = "left", ["README.zh-CN.md"] = "已离开" } do
    it(page .. " tells everybody who comes, speaks and leaves", function()
      start(page)
      local ann = tcp.connect(app.port[1])
      local ann_id = receive(ann).client_id
      local bob = tcp.connect(app.port[1])
      local bob_id = receive(ann).client_id
      assert.not_equal(ann_id, bob_id)
      bob:send "hello\n"
      assert.same({ client_id = bob_id, message = "hello" }, receive(ann))
      bob:close()
      assert.same({ client_id = bob_id, message = left }, receive(ann))
      ann:close()
    end)
  end

  it("docs/coming-from-gatewayworker.md logs in, speaks to a room and says who left", function()
    start "docs/coming-from-gatewayworker.md"
    local ann, bob = tcp.connect(app.port[1]), tcp.connect(app.port[1])
    ann:send '{"type":"login","name":"Ann","room":"a","uid":7}\n'
    ann:send '{"type":"say","room":"a","text":"hello"}\n'
    assert.same({ from = "Ann", text = "hello" }, receive(ann))
    ann:close()
    assert.equal("Ann", receive(bob).left)
    bob:close()
  end)

  it("docs/scripts.md asks its client, and takes the answer as a message", function()
    start "docs/scripts.md"
    local c = tcp.connect(app.port[1])
    c:send "yes\ndelete\nyes\n"
    assert.equal("sure?\n", c:receive "\n")
    assert.equal("deleted\n", c:receive "\n")
    c:close()
  end)

  it("a handler that waits for its own client's next message waits in vain", function()
    app = testbed.start { gateways = { { listen = "text" } }, script = [[
      Events = {}
      local answer = gwrun.ticket()
      function Events.onMessage(client_id, message)
        if message == "answer" then return answer:set() end
        Gateway.sendToCurrentClient("heard " .. tostring(answer:wait(0.2)))
      end]] }
    local c, other = tcp.connect(app.port[1]), tcp.connect(app.port[1])
    c:send "ask\nanswer\n"
    assert.equal("heard false\n", c:receive "\n")
    other:close()
    c:close()
  end)
end)

describe("a Redis subscription, as docs/redis.md says,", function()
  it("is heard by every worker", function()
    local redis = redisserver.start()
    local app = testbed.start { workers = { count = 3 }, script = ([[
      Events = {}
      function Events.onWorkerStart(worker)
        Redis.connect { host = %q }:subscribe("news", function(message)
          Log.notice(message .. " heard by " .. worker.id)
        end)
      end]]):format(redis.path) }
    finally(function()
      app:stop()
      redis:stop()
    end)
    require "loop".poll("three subscriptions", function() return redis:cli("pubsub", "numsub", "news"):find "3" end)
    redis:cli("publish", "news", "hello")
    for id = 0, 2 do app:wait_log("hello heard by " .. id) end
  end)

  it("may hear a message twice or never around a reload", function()
    local redis = redisserver.start()
    local script = ([[
      Events = {}
      function Events.onWorkerStart()
        local r = Redis.connect { host = %q }
        local news = r:subscribe("news", function(message)
          Log.notice("SCRIPT heard " .. message)
          if message == "wait" then gwrun.ticket():wait() end
        end)
        assert(news:waitReady())
        Log.notice "SCRIPT is ready"
        r:blpop("SCRIPT", 0)
      end]]):format(redis.path)
    redis:cli("rpush", "old", "go")
    local app = testbed.start { workers = { count = 1 }, script = script:gsub("SCRIPT", "old") }
    finally(function()
      app:stop()
      redis:stop()
    end)
    local function publish(message) redis:cli("publish", "news", message) end

    app:write_script((script:gsub("SCRIPT", "new")))
    local reload = process.spawn(app:command "reload", { cwd = app.dir })
    app:wait_log "new is ready"
    publish "twice"
    app:wait_log "old heard twice"
    app:wait_log "new heard twice"
    redis:cli("rpush", "new", "go")
    assert.equal(0, reload:wait())

    publish "wait"
    publish "never" -- lies behind the handler, which ends with its script
    app:wait_log "new heard wait"
    redis:cli("rpush", "last", "go")
    app:write_script((script:gsub("SCRIPT", "last")))
    assert.equal(0, (app:cli "reload"))
    publish "after"
    app:wait_log "last heard after"
    assert.is_nil(app:log():find "heard never")
  end)
end)
