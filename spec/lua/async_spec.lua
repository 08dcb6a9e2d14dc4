-- gwrun.spawn, gwrun.parallel, gwrun.settle, gwrun.whileConnected, Timer.cron in a
-- real worker.
local cjson = require "cjson"
local process = require "process"
local scripting = require "scripting"
local tcp = require "tcp"

describe("gwrun", function()
  local bed

  setup(function() bed = scripting.start { prefix = "assert(require 'gwrun' == gwrun and gwrun.log == Log)\n" } end)
  teardown(function() if bed then bed:stop() end end)

  it("runs functions side by side and returns their first results", function()
    assert.same({ "a", cjson.null, "c" }, { bed:run [[
      local begun = 0
      local function meet()
        begun = begun + 1
        while begun < 3 do Timer.sleep(0.01) end
      end
      return gwrun.parallel(
        function() meet() return "a", "more" end,
        function() meet() end,
        function() meet() return "c" end)
    ]] })
    assert.equal(0, bed:run "return select('#', gwrun.parallel())")
  end)

  it("waits for all before it raises the error of one", function()
    assert.same({ true, true, true }, { bed:run [[
      local done = false
      local ok, message = pcall(gwrun.parallel, function() error "boom" end, function() Timer.sleep(0.02) done = true end)
      return not ok, message:find("spec:1: boom", 1, true) ~= nil and message:find "traceback" ~= nil, done
    ]] })
  end)

  it("settles: results and errors of all", function()
    assert.same({ { true, 1, 2, 3 }, false, "x" }, { bed:run [[
      local list = gwrun.settle(function() return 1, 2 end, function() error { code = "x" } end)
      return { list[1][1], list[1][2], list[1][3], list[1].n }, list[2][1], "x"
    ]] })
  end)

  it("spawns functions that outlive their handler", function()
    assert.equal("ab", bed:run [[
      text = ""
      gwrun.spawn(function(x) text = text .. x Timer.sleep(0.02) text = text .. "b" end, "a")
      assert(text == "") -- it begins after this handler waits or ends
      Timer.sleep(0.01)
      local first = text
      repeat Timer.sleep(0.005) until #text == 2
      return text
    ]])
    assert.equal("xy", bed:run [[
      local order = ""
      gwrun.spawn(function(x) order = order .. x end, "x")
      gwrun.spawn(function() order = order .. "y" end)
      repeat Timer.sleep(0.01) until #order == 2
      return order
    ]])
  end)

  it("logs what a spawned function raises", function()
    bed:run "gwrun.spawn(function() error 'lost and found' end)"
    bed.app:wait_log "lost and found"
    bed.app:wait_log "spawned function failed"
  end)

  it("limits how many there are", function()
    assert.error_matches(function()
      bed:run "for i = 1, 10001 do gwrun.spawn(function() Timer.sleep(0.05) end) end"
    end, "more than 10000 spawned functions")
    bed:run "repeat Timer.sleep(0.02) until pcall(gwrun.spawn, print)"
  end)

  it("cuts a handler short when its client goes away, before onClose", function()
    bed:run [[
      order = {}
      function Events.onClose(id) if id == watched then order[#order + 1] = "closed" end end
    ]]
    local client = tcp.connect(bed.app.port[1])
    client:send "watched = ... order[1] = table.concat({ select(2, gwrun.whileConnected(Timer.sleep, 60)) }, ', ')\n"
    bed:run "repeat Timer.sleep(0.005) until watched"
    client:close()
    assert.same({ "the client is gone, gone", "closed" }, bed:run "repeat Timer.sleep(0.005) until #order == 2 return order")
  end)

  it("refuses what is no function", function()
    assert.error_matches(function() bed:run "gwrun.spawn(1)" end, "spec:1: bad argument #1 to 'spawn' %(function expected, got number")
    assert.error_matches(function() bed:run "gwrun.parallel(print, {})" end, "bad argument #2 to 'parallel'")
  end)
end)

describe("Timer.cron", function()
  local bed

  setup(function() bed = scripting.start() end)
  teardown(function() if bed then bed:stop() end end)

  -- The next times after a moment, in a time zone.
  local function next_times(expression, after, zone, count)
    local code, out = process.run({ "lua5.4", "-e", ([[
      Timer = {}
      package.loaded["gwrun.raise"] = dofile "lua/gwrun/raise.lua"
      package.loaded["gwrun.async"] = {}
      local cron = dofile "lua/gwrun/cron.lua"
      local y, m, d, h, min, s = (%q):match "(%%d+)-(%%d+)-(%%d+) (%%d+):(%%d+):(%%d+)"
      local time = os.time { year = y, month = m, day = d, hour = h, min = min, sec = s }
      local ok, plan = pcall(cron.parse, %q)
      if not ok then print(plan) return end
      for _ = 1, %d do
        time = cron.next(plan, time)
        print(time and os.date("%%Y-%%m-%%d %%H:%%M:%%S", time) or "never")
        if not time then break end
      end
    ]]):format(after, expression, count or 1) }, { env = { TZ = zone or "UTC" } })
    assert.equal(0, code, out)
    return (out:gsub("\n$", ""))
  end

  it("finds the next time", function()
    for expression, expected in pairs {
      ["*/5 * * * *"] = "2026-01-31 23:55:00",
      ["* * * * *"] = "2026-01-31 23:54:00",
      ["*/10 * * * * *"] = "2026-01-31 23:53:10",
      ["0 0 * * *"] = "2026-02-01 00:00:00",
      ["@hourly"] = "2026-02-01 00:00:00",
      ["30 9 * * mon-fri"] = "2026-02-02 09:30:00",
      ["0 12 * * 7"] = "2026-02-01 12:00:00",
      ["0 0 29 2 *"] = "2028-02-29 00:00:00",
      ["0 0 31 4 *"] = "never",
      ["0 0 13 * 5"] = "2026-02-06 00:00:00", -- the 13th or a Friday
      ["0 0 */2 * *"] = "2026-02-01 00:00:00",
      ["15,45 8-10/2 * jun,Dec *"] = "2026-06-01 08:15:00",
      ["59 59 23 31 12 *"] = "2026-12-31 23:59:59",
      ["50/4 23 * * *"] = "2026-01-31 23:54:00",
    } do
      assert.equal(expected, next_times(expression, "2026-01-31 23:53:07"), expression)
    end
    assert.equal("2026-03-01 00:00:00\n2026-04-01 00:00:00\n2026-05-01 00:00:00",
      next_times("@monthly", "2026-02-01 00:00:00", "UTC", 3))
  end)

  it("knows summer time", function()
    assert.equal("2026-03-28 02:30:00\n2026-03-30 02:30:00", next_times("30 2 * * *", "2026-03-27 12:00:00", "Europe/Berlin", 2))
    assert.equal("2026-10-24 02:30:00\n2026-10-25 02:30:00\n2026-10-26 02:30:00",
      next_times("30 2 * * *", "2026-10-23 12:00:00", "Europe/Berlin", 3))
  end)

  -- What cron.lua takes in 2026 in a zone against a walk in steps of five minutes:
  -- expressions for every hour take each that matches, others each local time once.
  it("takes every time of a year once, and every hour of those that run hourly", function()
    for _, zone in ipairs { "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Havana" } do
      local code, out = process.run({ "lua5.4", "-e", [[
        Timer = {}
        package.loaded["gwrun.raise"] = dofile "lua/gwrun/raise.lua"
        package.loaded["gwrun.async"] = {}
        local cron = dofile "lua/gwrun/cron.lua"
        local first = os.time { year = 2026, month = 1, day = 1, hour = 0 }
        local last = os.time { year = 2027, month = 1, day = 1, hour = 0 } - 300
        local dates = {}
        for time = first, last, 300 do dates[#dates + 1] = os.date("*t", time) end
        for expression, wanted in pairs {
          ["*/30 * * * *"] = function(date) return date.min % 30 == 0 end,
          ["45 0-23 * * *"] = function(date) return date.min == 45 end,
          ["@hourly"] = function(date) return date.min == 0 end,
          ["0 2 * * *"] = function(date) return date.hour == 2 and date.min == 0 end,
          ["*/20 1,2 * * *"] = function(date) return (date.hour == 1 or date.hour == 2) and date.min % 20 == 0 end,
          ["0 */2 * * *"] = function(date) return date.hour % 2 == 0 and date.min == 0 end,
          ["@daily"] = function(date) return date.hour == 0 and date.min == 0 end,
          ["5 0 1 * sun"] = function(date)
            return (date.day == 1 or date.wday == 1) and date.hour == 0 and date.min == 5
          end,
        } do
          local plan, time, seen = cron.parse(expression), first - 1, {}
          for i, date in ipairs(dates) do
            local name = ("%d-%d %d:%d"):format(date.month, date.day, date.hour, date.min)
            if wanted(date) and (plan.is_hourly or not seen[name]) then
              time = cron.next(plan, time)
              assert(time == first + (i - 1) * 300, expression .. " " .. os.date("%F %T %Z", time))
            end
            seen[name] = true
          end
          assert(cron.next(plan, time) > last, expression)
        end
      ]] }, { env = { TZ = zone } })
      assert.equal(0, code, zone .. ": " .. out)
    end
  end)

  -- The times at which a job runs while a clock of the spec's goes on and is set;
  -- each step is an instant (UTC) to which it goes on, or `set =` for a jump.
  local function times_of_job(expression, zone, steps)
    local code, out = process.run({ "lua5.4", "-e", ([[
      local clock, pending = 0, nil
      Timer = { once = function(seconds, fn, args) pending = { at = clock + seconds, fn = fn, args = args } end }
      package.loaded["gwrun.raise"] = dofile "lua/gwrun/raise.lua"
      package.loaded["gwrun.async"] = { now = os.time, spawn = function(fn) fn() end }
      local time = os.time
      os.time = function(date) return date and time(date) or clock end
      package.loaded["gwrun.async"].now = os.time
      local function utc(text)
        local y, m, d, h, min = text:match "(%%d+)-(%%d+)-(%%d+) (%%d+):(%%d+)"
        local t = time { year = y, month = m, day = d, hour = h, min = min, isdst = false }
        local shown = os.date("!*t", t)
        shown.isdst = false
        return t + (t - time(shown))
      end
      local steps = { %s }
      clock = utc(steps[1])
      local function load_script()
        package.loaded["gwrun.cron"] = nil
        dofile "lua/gwrun/cron.lua"
        Timer.cron(%q, function() print(os.date("%%H:%%M:%%S %%Z", clock)) end)
      end
      load_script()
      for i = 2, #steps do
        local step = steps[i]
        if step == "reload" then
          load_script()
        elseif type(step) == "table" then
          local jump = utc(step.set) - clock
          clock, pending.at = clock + jump, pending.at + jump
        else
          while pending.at <= utc(step) do
            local timer = pending
            clock = timer.at
            timer.fn(table.unpack(timer.args))
          end
          clock = utc(step)
        end
      end
    ]]):format(steps, expression) }, { env = { TZ = zone } })
    assert.equal(0, code, out)
    return (out:gsub("\n$", ""))
  end

  it("takes a daily job once in the night when summer time ends", function()
    assert.equal("02:00:00 CEST\n02:00:00 CET",
      times_of_job("0 2 * * *", "Europe/Berlin", "'2026-10-24 23:20', '2026-10-26 02:00'"))
    assert.equal("02:30:00 CEST",
      times_of_job("30 2 * * *", "Europe/Berlin", "'2026-10-24 23:20', '2026-10-25 01:10', 'reload', '2026-10-25 20:00'"))
    assert.equal("01:30:00 CEST\n02:00:00 CEST\n02:30:00 CEST\n02:00:00 CET\n02:30:00 CET\n03:00:00 CET",
      times_of_job("*/30 * * * *", "Europe/Berlin", "'2026-10-24 23:20', '2026-10-25 02:10'"))
  end)

  it("repeats no job when the clock is set back a little", function()
    -- two hours of a job at a chosen hour, a few seconds of any other
    assert.equal("12:00:00 UTC\n12:00:00 UTC", times_of_job("0 12 * * *", "UTC",
      "'2026-05-01 11:00', '2026-05-01 12:30', { set = '2026-05-01 11:30' }, '2026-05-02 12:30'"))
    assert.equal("12:00:00 UTC\n12:01:00 UTC", times_of_job("* * * * *", "UTC",
      "'2026-05-01 11:59', '2026-05-01 12:00', { set = '2026-05-01 11:59' }, '2026-05-01 12:01'"))
  end)

  it("follows the clock when it is set back far or set forward", function()
    assert.equal("12:00:00 UTC\n12:00:00 UTC", times_of_job("0 12 * * *", "UTC",
      "'2026-05-01 11:00', '2026-05-01 12:30', { set = '2026-03-01 11:30' }, '2026-03-01 12:30'"))
    assert.equal("12:00:00 UTC\n11:30:00 UTC\n12:00:00 UTC", times_of_job("0,30 * * * *", "UTC",
      "'2026-05-01 11:50', '2026-05-01 12:10', { set = '2026-05-01 11:10' }, '2026-05-01 12:10'"))
    assert.equal("13:00:00 UTC", times_of_job("0 12 * * *", "UTC",
      "'2026-05-01 11:00', { set = '2026-05-01 12:59' }, '2026-05-01 14:00'"))
  end)

  it("says what is wrong", function()
    for expression, message in pairs {
      ["60 * * * *"] = "minute '60' is not from 0 to 59",
      ["* * * *"] = "'* * * *' must have 5 fields, or 6 with the second in front",
      ["* * 0 * *"] = "day '0' is not from 1 to 31",
      ["5-1 * * * *"] = "minute '5-1' ends before it begins",
      ["*/0 * * * *"] = "minute '*/0' has a step of 0",
      ["1,,2 * * * *"] = "minute '1,,2' has an empty part",
      ["* * * foo *"] = "month 'foo' is not from 1 to 12",
    } do
      assert.equal(message, next_times(expression, "2026-01-31 23:53:07"))
    end
    assert.error_matches(function() bed:run "Timer.cron('x', print)" end, "spec:1: bad argument #1 to 'cron'")
    assert.error_matches(function() bed:run "Timer.cron('@daily')" end, "spec:1: bad argument #2 to 'cron'")
    assert.error_matches(function() bed:run "Timer.cron('0 0 30 2 *', print)" end, "there is no such day")
  end)

  it("fires on time until it is deleted", function()
    -- A worker that did not run for a while is late: it is on time in the end.
    assert.same({ true, false, true }, { bed:run [[
      local times, punctual, early = {}, 0, 0
      local id = Timer.cron("* * * * * *", function(x)
        local now = gwrun.now() + x
        local before = times[#times]
        if before and now // 1 == before // 1 then early = early + 1 end
        punctual = now % 1 < 0.2 and punctual + 1 or 0
        times[#times + 1] = now
      end, { 0 })
      repeat Timer.sleep(0.01) until punctual == 2
      local deleted = Timer.del(id)
      return deleted, Timer.del(id), early == 0
    ]] })
  end)

  it("logs an error and goes on", function()
    bed:run [[
      local n = 0
      id = Timer.cron("* * * * * *", function() n = n + 1 error("cron error " .. n) end)
    ]]
    bed.app:wait_log "cron error 2"
    bed:run "Timer.delAll()"
  end)
end)
