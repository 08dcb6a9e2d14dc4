-- gwrun.metrics in the workers of a real system, and as the operators' port tells it.
local loop = require "loop"
local process = require "process"
local scripting = require "scripting"
local testbed = require "testbed"
local uv = require "luv"

describe("gwrun.metrics", function()
  local bed, address

  setup(function()
    address = "127.0.0.1:" .. testbed.ports()
    bed = scripting.start {
      prefix = "metrics = require 'gwrun.metrics' assert(gwrun.metrics == metrics)\n",
      config = function(c) c.admin = address end,
    }
  end)

  teardown(function() if bed then bed:stop() end end)

  local function told()
    local code, out = process.run { "curl", "-s", "--max-time", "20", "http://" .. address .. "/metrics" }
    assert.equal(0, code)
    return out
  end

  -- The line of a series without its labels of the process.
  local function value(series)
    local name, labels = series:match "^([^{]+)(.*)$"
    local prefix = name .. '{role="worker",name="ChatWorker",slot="0"' .. (labels ~= "" and "," .. labels:sub(2, -2) or "") .. "} "
    for line in told():gmatch "[^\n]+" do
      if line:sub(1, #prefix) == prefix then return tonumber(line:sub(#prefix + 1)) end
    end
  end

  it("tells counters, gauges and histograms with their labels", function()
    assert.same({ true, 3.5, 7, 0.3 }, { bed:run [[
      local orders = metrics.counter("shop_orders", "orders \\ and\nmore", { labels = { "kind", "vip" } })
      orders:add(1, { kind = "buy", vip = true }) orders:add(2.5, { kind = "buy", vip = true })
      orders:add(nil, { kind = 'a "b"', vip = 1 })
      local waits = metrics.gauge("shop_waits", "orders that wait")
      waits:set(9) waits:add(-2)
      local took = metrics.histogram("shop_seconds", "how long")
      took:observe(0.3)
      return metrics.counter("shop_orders", "again", { labels = { "kind", "vip" } }) == orders,
        orders:get { kind = "buy", vip = true }, waits:get(), took:get()
    ]] })
    assert.equal(3.5, value 'shop_orders_total{kind="buy",vip="true"}')
    assert.equal(1, value 'shop_orders_total{kind="a \\"b\\"",vip="1"}')
    assert.equal(7, value "shop_waits")
    assert.equal(0, value 'shop_seconds_bucket{le="0.25"}')
    assert.equal(1, value 'shop_seconds_bucket{le="0.5"}')
    assert.equal(1, value "shop_seconds_count")
    assert.is_truthy(told():find("# HELP shop_orders_total orders \\\\ and\\nmore\n# TYPE shop_orders_total counter\n", 1, true))
  end)

  it("tells what promtool finds nothing wrong with", function()
    if process.run { "sh", "-c", "command -v promtool" } ~= 0 then pending "promtool is missing" return end
    bed:run "metrics.gauge('x_y', 'é'):set(0.1) metrics.gauge('x_z', 'z', { labels = { 'v' } }):set(1, { v = '\\xff\\0' })"
    local code, out = process.run { "sh", "-c", "curl -s http://" .. address .. "/metrics | promtool check metrics" }
    assert.same({ 0, "" }, { code, out })
  end)

  it("raises what is wrong where the script says it", function()
    local function wrong(code, message)
      assert.error_matches(function() bed:run(code) end, message, 1, true)
    end
    bed:run "metrics.counter('w', 'w', { labels = { 'a' } })"
    wrong("metrics.counter('a-b', '')", "spec:1: metrics: \"a-b\" is no name")
    wrong("metrics.counter('gwrun_x', '')", "are gwrun's")
    wrong("metrics.counter('y')", "bad argument #2 to 'counter'")
    wrong("metrics.counter('y', '', { label = 1 })", "there is no option \"label\"")
    wrong("metrics.counter('y', '', { labels = { 'slot' } })", "\"slot\" cannot be a label")
    wrong("metrics.gauge('w', '')", "there is a counter w with the labels { a }")
    wrong("metrics.counter('w', '')", "there is a counter w with the labels { a }")
    wrong("metrics.counter('w', '', { labels = { 'a' } }):add(1)", "w needs the label \"a\"")
    wrong("metrics.counter('w', '', { labels = { 'a' } }):add(1, { a = 1, b = 2 })", "w has no label \"b\"")
    wrong("metrics.counter('w', '', { labels = { 'a' } }):add(1, { a = {} })", "the label \"a\" is a table")
    wrong("metrics.counter('y', '', { labels = { 'a', 'a' } })", "the label \"a\" is given twice")
    wrong("metrics.gauge('w_total', '')", "w_total would be told as w_total, as w is")
    wrong("metrics.histogram('h', '') metrics.gauge('h_count', '')", "h_count would be told as h_count, as h is")
    wrong("metrics.counter('v', ''):add(-1)", "a counter only rises")
    wrong("metrics.counter('v', ''):add(0/0)", "the value is not finite")
    wrong("metrics.gauge('u', ''):set()", "bad argument #1")
  end)

  it("keeps nothing of values that are one series once they are cut", function()
    local grown, sum = bed:run [[
      local long = metrics.counter("long", "long", { labels = { "path" } })
      local head = ("x"):rep(64)
      long:add(1, { path = head .. "first" })
      collectgarbage() collectgarbage()
      local before = collectgarbage "count"
      for i = 1, 2000 do long:add(1, { path = head .. i }) end
      collectgarbage() collectgarbage()
      return collectgarbage "count" - before, long:get { path = head }
    ]]
    assert.equal(2001, sum)
    assert.is_true(grown < 64, grown)
  end)

  it("goes on after a reload, and refuses another type then, too", function()
    bed:run "metrics.counter('kept', 'kept'):add(5)"
    assert.equal(0, (bed.app:cli "reload"))
    assert.equal(6, bed:run "metrics.counter('kept', 'kept'):add(1) return metrics.counter('kept', 'kept'):get()")
    assert.equal(6, value "kept_total")
    assert.equal(0, (bed.app:cli "reload"))
    assert.error_matches(function() bed:run "metrics.gauge('kept', 'kept')" end, "kept has another type", 1, true)
  end)

  it("shows what a worker counted that is stopped, and goes on after one was killed", function()
    bed:run "metrics.counter('lives', 'lives'):add(2)"
    local pid = bed.app:pids "worker"[1]
    uv.kill(pid, "sigstop")
    assert.equal(2, value "lives_total")
    uv.kill(pid, "sigkill")
    loop.poll("another worker", function()
      local now = bed.app:pids "worker"[1]
      return now and now ~= pid
    end)
    assert.equal(2, value "lives_total")
    assert.equal(3, bed:run "metrics.counter('lives', 'lives'):add(1) return metrics.counter('lives', 'lives'):get()")
  end)

  it("refuses series that are too many, says so once, and goes on with those it has", function()
    local first, last, code, again = bed:run [[
      local many = metrics.counter("many", "many", { labels = { "n" } })
      local first = many:add(1, { n = 0 })
      local n = 0
      repeat n = n + 1 until not many:add(1, { n = n })
      local _, _, code = many:add(1, { n = -1 })
      return first, n, code, many:add(1, { n = 0 })
    ]]
    assert.same({ true, "enospc", true }, { first, code, again })
    assert.is_true(last > 900 and last <= 1000)
    assert.equal(2, value 'many_total{n="0"}')
    assert.equal(2, value "gwrun_metrics_refused_total")
    local _, lines = bed.app:log():gsub("gwrun.metrics is full", "")
    assert.equal(1, lines)
  end)
end)

it("gwrun.metrics works where nobody looks", function()
  local bed = scripting.start {}
  assert.equal(3, bed:run [[
    local c = gwrun.metrics.counter("a", "a", { labels = { "b" } })
    c:add(1, { b = "x" }) c:add(2, { b = "x" })
    return c:get { b = "x" }
  ]])
  bed:stop()
end)
