-- Timer.cron("*/5 * * * *", f): functions that run at times of the calendar, in
-- the machine's time zone. Five fields (minute, hour, day of the month, month,
-- day of the week), or six with the second in front.
--
-- Loaded by lualib/linit.c.
local async = require "gwrun.async"

local M = {}

local months = {
  jan = 1, feb = 2, mar = 3, apr = 4, may = 5, jun = 6,
  jul = 7, aug = 8, sep = 9, oct = 10, nov = 11, dec = 12,
}
local days = { sun = 0, mon = 1, tue = 2, wed = 3, thu = 4, fri = 5, sat = 6 }

local fields = {
  { name = "second", first = 0, last = 59 },
  { name = "minute", first = 0, last = 59 },
  { name = "hour", first = 0, last = 23 },
  { name = "day", first = 1, last = 31 },
  { name = "month", first = 1, last = 12, names = months },
  { name = "weekday", first = 0, last = 7, names = days },
}

local shorthands = {
  ["@yearly"] = "0 0 1 1 *", ["@monthly"] = "0 0 1 * *", ["@weekly"] = "0 0 * * 0",
  ["@daily"] = "0 0 * * *", ["@hourly"] = "0 * * * *",
}

local search_days = 366 * 8 + 1 -- February 29 can be 8 years away
local wait_max = 60 -- seconds; the clock may be set meanwhile

local function number(field, text)
  local n = field.names and field.names[text:lower()]
  n = n or text:match "^%d+$" and math.tointeger(tonumber(text))
  if not n or n < field.first or n > field.last then
    error(("%s '%s' is not from %d to %d"):format(field.name, text, field.first, field.last), 0)
  end
  return n
end

-- Add what "*", "5", "1-5", "*/15" or "10-40/10" stands for.
local function add_item(field, item, set)
  local range, step = item:match "^([^/]+)/(%d+)$"
  range = range or item
  step = step and math.tointeger(tonumber(step)) or nil
  local first, last
  if range == "*" then
    first, last = field.first, field.name == "weekday" and 6 or field.last
  else
    local from, to = range:match "^(%w+)%-(%w+)$"
    first = number(field, from or range)
    last = to and number(field, to) or (step and field.last or first)
  end
  if last < first then error(("%s '%s' ends before it begins"):format(field.name, item), 0) end
  if step == 0 then error(("%s '%s' has a step of 0"):format(field.name, item), 0) end
  for n = first, last, step or 1 do set[n] = true end
end

local function parse_field(field, text)
  local set = { any = text:sub(1, 1) == "*" }
  for item in (text .. ","):gmatch "([^,]*)," do
    if item == "" then error(("%s '%s' has an empty part"):format(field.name, text), 0) end
    add_item(field, item, set)
  end
  if field.name == "weekday" and set[7] then set[0] = true end
  set.list = {}
  for n = field.first, field.last do
    if set[n] then table.insert(set.list, n) end
  end
  return set
end

-- The expression as sets of numbers by the fields' names; raises without position.
function M.parse(text)
  if type(text) ~= "string" then error("a cron expression expected, got a " .. type(text), 0) end
  local words = {}
  for word in (shorthands[text] or text):gmatch "%S+" do words[#words + 1] = word end
  if #words == 5 then table.insert(words, 1, "0") end
  if #words ~= 6 then
    error(("'%s' must have 5 fields, or 6 with the second in front"):format(text), 0)
  end
  local plan = {}
  for i, field in ipairs(fields) do plan[field.name] = parse_field(field, words[i]) end
  return plan
end

-- When both days are restricted either will do, as in every cron.
local function is_day(plan, date)
  if not plan.month[date.month] then return false end
  local day, weekday = plan.day[date.day], plan.weekday[date.wday - 1]
  if plan.day.any or plan.weekday.any then return day and weekday end
  return day or weekday
end

-- The first time of that day after `after`, whose own date is `now` if it is the
-- same day (then what has passed is not tried one by one).
local function time_of_day(plan, date, after, now)
  for _, hour in ipairs(plan.hour.list) do
    local is_past = now and hour < now.hour
    for _, min in ipairs(is_past and {} or plan.minute.list) do
      local is_over = now and hour == now.hour and min < now.min
      for _, sec in ipairs(is_over and {} or plan.second.list) do
        local time = os.time {
          year = date.year, month = date.month, day = date.day, hour = hour, min = min, sec = sec,
        }
        -- an hour that summer time leaves out has no such time
        if time > after and os.date("*t", time).hour == hour then return time end
      end
    end
  end
end

-- The first time (of os.time()) after `after`; nil when there is none.
function M.next(plan, after)
  local today = os.date("*t", after)
  for offset = 0, search_days do
    local day = { year = today.year, month = today.month, day = today.day + offset, hour = 12 }
    local date = os.date("*t", os.time(day))
    if is_day(plan, date) then
      local time = time_of_day(plan, date, after, offset == 0 and today or nil)
      if time then return time end
    end
  end
end

local entries, last_id = {}, 0
local del, del_all = Timer.del, Timer.delAll

local schedule

-- One that has computed for too long is ended wherever it is.
local function is_running(entry)
  return entry.running and coroutine.status(entry.running) ~= "dead"
end

local function run(id, entry)
  if is_running(entry) then return end -- it still waits: this time is skipped
  async.spawn(function()
    entry.running = coroutine.running()
    local ok, message = xpcall(entry.fn, debug.traceback, table.unpack(entry.args))
    entry.running = nil
    if not ok then async._report(("cron: callback failed id=%d"):format(id), message) end
  end)
end

local function on_timer(id, entry)
  if entries[id] ~= entry then return end
  local is_due = async.now() >= entry.due
  -- The clock may have been set.
  entry.due = M.next(entry.plan, is_due and math.max(entry.due, os.time()) or os.time())
  schedule(id, entry)
  if is_due then run(id, entry) end -- last: it raises when too many functions run
end

function schedule(id, entry)
  if not entry.due then
    entries[id] = nil
    return
  end
  local seconds = math.max(0.001, math.min(entry.due - async.now(), wait_max))
  entry.timer = Timer.once(seconds, on_timer, { id, entry })
end

-- Timer.cron(expression, fn, args) -> id, for Timer.del()
function Timer.cron(expression, fn, args)
  local ok, plan = pcall(M.parse, expression)
  if not ok then error("bad argument #1 to 'cron' (" .. plan .. ")", 2) end
  if type(fn) ~= "function" then
    error("bad argument #2 to 'cron' (function expected, got " .. type(fn) .. ")", 2)
  end
  local due = M.next(plan, os.time())
  if not due then error("bad argument #1 to 'cron' (there is no such day)", 2) end
  last_id = last_id - 1 -- apart from those of other timers
  entries[last_id] = { plan = plan, fn = fn, args = args or {}, due = due }
  schedule(last_id, entries[last_id])
  return last_id
end

function Timer.del(id)
  local entry = entries[id]
  if not entry then return del(id) end
  entries[id] = nil
  del(entry.timer)
  return true
end

function Timer.delAll()
  entries = {}
  del_all()
end

return M
