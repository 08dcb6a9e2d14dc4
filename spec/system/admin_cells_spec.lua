-- The cells of a cluster on the operators' page of one of them.
local cjson = require "cjson"
local bridge = require "bridge"
local cluster = require "cluster"
local loop = require "loop"
local process = require "process"
local redisserver = require "redisserver"
local tcp = require "tcp"
local testbed = require "testbed"
local uv = require "luv"

describe("the operators' page of a cell", function()
  local redis, a, b, port

  setup(function()
    redis = redisserver.start()
    port = testbed.ports()
    a = cluster.start(redis, "a", { config = function(c) c.admin = "127.0.0.1:" .. port end })
    b = cluster.start(redis, "b<i>", { gateways = { { listen = "text" } } })
    cluster.wait_up(a)
    cluster.wait_up(b, 1)
  end)

  teardown(function()
    bridge.close()
    a:stop()
    if b then b:stop() end
    redis:stop()
  end)

  -- The event stream that the page reads; next() waits for an event.
  local function watch()
    local c = tcp.connect(port)
    c:send "GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n"
    local function next_event()
      local data
      repeat data = c:receive("\n\n", 30):match "data: ([^\n]*)\n\n$" until data -- else the head, or a sign of life
      return cjson.decode(data)
    end
    return { next = next_event, close = function() c:close() end }
  end

  local function open(options)
    local page = bridge.page("http://127.0.0.1:" .. port .. "/", options)
    page:call("waitForSelector", "#cells tbody tr:nth-child(2)")
    return page
  end

  it("shows all cells, what they are and how many clients they have", function()
    local ann, page = cluster.person(b), open()
    ann:run "return 1"
    page:call("waitForSelector", "#cells tr:has(td:text-is(\"b<i>\")) td:nth-child(4):text-is(\"1\")", { timeout = 60000 })
    page:call("waitForSelector", "#cells tr:has(td:text-is(\"a (this one)\")) td:nth-child(5):text-is(\"2\")")
    page:call("waitForSelector", "#cells tr:nth-child(2):has(td:text-is(\"there\")) td:nth-child(6):text-is(\"2\")")
    page:call("waitForSelector", "#cells-note:text-is(\"2 there, 0 gone, 1 clients\")")
    ann.client:close()
  end)

  for _, locale in ipairs { "en-US", "zh-CN" } do
    for _, scheme in ipairs { "light", "dark" } do
      for _, width in ipairs { 390, 1280 } do
        it(("fits %d px in %s, %s, and axe finds nothing"):format(width, locale, scheme), function()
          local page = open { viewport = { width = width, height = 844 }, locale = locale, colorScheme = scheme }
          assert.equal(0, page:call("evaluate", "document.documentElement.scrollWidth - innerWidth"))
          assert.same({}, page:axe().violations)
          for _, e in ipairs(page.events) do
            assert.is_false(e.event == "console" or e.event == "error", tostring(e.message))
          end
        end)
      end
    end
  end

  it("goes on while Redis answers nothing, and says how old that is", function()
    local live = watch()
    loop.poll("the cells", function() return live.next().cells ~= cjson.null end)
    redis:freeze()
    finally(function()
      redis:thaw()
      live.close()
    end)
    for _, path in ipairs { "/metrics", "/status.json", "/livez", "/readyz" } do
      local code, out = process.run { "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}",
        "http://127.0.0.1:" .. port .. path }
      assert.same({ 0, "200" }, { code, out }, path)
    end
    local cells
    loop.poll("what Redis said last to be old", function() -- an event a second, all the time
      cells = live.next().cells
      return cells.age_ms > 15000
    end, 60)
    assert.same({ 2, 0, 2 }, { cells.there, cells.gone, #cells.rows })
    local page = open()
    page:call("waitForSelector", "#cells-note:has-text(\"; as of \")")
    redis:thaw()
    loop.poll("Redis to be heard again", function() return live.next().cells.age_ms < 10000 end, 60)
  end)

  it("asks Redis only while somebody looks", function()
    local function calls(name)
      return tonumber(redis:cli("info", "commandstats"):match("cmdstat_" .. name .. ":calls=(%d+)") or 0)
    end
    local function wait_calls(name, count)
      local wanted = calls(name) + count
      loop.poll(name, function() return calls(name) >= wanted end, 60)
    end
    bridge.close() -- and with it all pages
    local live, before = watch(), calls "zrange"
    loop.poll("a look", function() return live.next() and calls "zrange" > before end, 30)
    live.close()
    wait_calls("zadd", 3 * 7) -- each of 7 processes claims every 5 s, and so long a wish holds
    local after = calls "zrange"
    wait_calls("zadd", 2 * 7)
    assert.equal(after, calls "zrange")
  end)
end)

it("a cell that is killed is gone on the operators' page of another", function()
  local redis, port = redisserver.start(), testbed.ports()
  local a = cluster.start(redis, "a", { config = function(c) c.admin = "127.0.0.1:" .. port end })
  local b = cluster.start(redis, "b", { gateways = { { listen = "text" } } })
  finally(function()
    bridge.close()
    a:stop()
    redis:stop()
  end)
  cluster.wait_up(b, 1)
  local page = bridge.page("http://127.0.0.1:" .. port .. "/")
  page:call("waitForSelector", "#cells tr:has(td:text-is(\"b\")) td:text-is(\"there\")", { timeout = 60000 })
  local pids = { b.master.pid }
  for _, p in ipairs(b:status().processes) do pids[#pids + 1] = p.pid end
  for _, signal in ipairs { "sigstop", "sigkill" } do -- none of them can leave in order
    for _, pid in ipairs(pids) do uv.kill(pid, signal) end
  end
  b:remove()
  page:call("waitForSelector", "#cells tr:has(td:text-is(\"b\")) td:text-is(\"gone\")", { timeout = 60000 })
end)
