-- Timer.cron("*/5 * * * *", f): functions that run at times of the calendar, in
-- the machine's time zone. Five fields (minute, hour, day of the month, month,
-- day of the week), or six with the second in front.
--
-- Loaded by lualib/linit.c.
local async = require "gwrun.async"
local raise = require "gwrun.raise"
local error = raise.error

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
local quarter = 15 * 60 -- seconds; zones change their offset at multiples of it
local day_length = 24 * 60 * 60
local wait_max = 60 -- seconds; the clock may be set meanwhile

-- A clock that is set back by at most so much repeats no time that was taken:
-- seconds, for expressions with chosen hours and for those that run in every
-- hour (these would stand still meanwhile).
local set_back_max, set_back_max_hourly = 3 * 60 * 60, 60

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
  plan.is_hourly = true
  for hour = 0, 23 do plan.is_hourly = plan.is_hourly and plan.hour[hour] or false end
  return plan
end

-- When both days are restricted either will do, as in every cron.
local function is_day(plan, date)
  if not plan.month[date.month] then return false end
  local day, weekday = plan.day[date.day], plan.weekday[date.wday - 1]
  if plan.day.any or plan.weekday.any then return day and weekday end
  return day or weekday
end

-- Seconds that local time is ahead of UTC.
local function offset_at(time)
  local sign, hours, minutes = os.date("%z", time):match "^([+-])(%d%d)(%d%d)$"
  local offset = hours * 3600 + minutes * 60
  return sign == "-" and -offset or offset
end

-- Whether the clocks have shown this time before, because they were put back
-- within the day in front of it.
local function is_repeated(time)
  local back = offset_at(time - day_length) - offset_at(time)
  return back > 0 and offset_at(time - back) == offset_at(time) + back
end

-- The first instant of the day behind `date`, which is that of `time`; or a later
-- one of the same day, where a zone leaves midnight out. One that has midnight
-- twice gets the first.
local function next_day(time, date)
  local first = os.time { year = date.year, month = date.month, day = date.day + 1, hour = 0 }
  while first - quarter > time and os.date("*t", first - quarter).day ~= date.day do
    first = first - quarter
  end
  return math.max(first, time + quarter - (date.min * 60 + date.sec) % quarter)
end

-- The first number of the set behind n, or the next multiple of `limit`.
local function behind(set, n, limit)
  repeat n = n + 1 until set[n] or n % limit == 0
  return n
end

-- The first instant (of os.time()) after `after`; nil when there is none. It goes
-- through instants and asks for the local time of each: hours that a zone leaves
-- out do not come, those that it has twice do. An expression that runs in every
-- hour runs in both; otherwise the second is left out.
function M.next(plan, after)
  local time, last = after + 1, after + search_days * day_length
  while time <= last do
    local date = os.date("*t", time)
    if not is_day(plan, date) then
      time = next_day(time, date)
    elseif not plan.hour[date.hour] then
      time = time + quarter - (date.min * 60 + date.sec) % quarter
    elseif not plan.minute[date.min] then
      time = time + (behind(plan.minute, date.min, quarter // 60) - date.min) * 60 - date.sec
    elseif not plan.second[date.sec] or not plan.is_hourly and is_repeated(time) then
      time = time + behind(plan.second, date.sec, 60) - date.sec
    else
      return time
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

-- The time behind which the next one is looked for, now that those until `taken`
-- (nil: none yet) were taken. The clock may have been set.
local function search_start(plan, taken)
  local now = os.time()
  local limit = plan.is_hourly and set_back_max_hourly or set_back_max
  return taken and taken > now and taken - now <= limit and taken or now
end

local function on_timer(id, entry)
  if entries[id] ~= entry then return end
  local is_due = async.now() >= entry.due
  if is_due then entry.taken = entry.due end
  entry.due = M.next(entry.plan, search_start(entry.plan, entry.taken))
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
  if args ~= nil then raise.check(args, "table", 3, "cron") end
  local due = M.next(plan, os.time())
  if not due then error("bad argument #1 to 'cron' (there is no such day)", 2) end
  last_id = last_id - 1 -- apart from those of other timers
  entries[last_id] = { plan = plan, fn = fn, args = args or {}, due = due }
  schedule(last_id, entries[last_id])
  return last_id
end

function Timer.del(id)
  local entry = entries[id]
  if not entry then return raise.call("del", 0, del, id) end
  entries[id] = nil
  del(entry.timer)
  return true
end

function Timer.delAll()
  entries = {}
  del_all()
end

return M
