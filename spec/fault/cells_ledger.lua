-- The accounting of what crosses cells in a round: what scripts sent and were told,
-- what clients got, and what the logs say of who was away are held against each other.
-- Pure: no clock, no sockets. Which findings are promised stands in cells_promises.lua.
--
-- A send is missing where somebody had its name, or was there, and has not got it. It
-- needs a reason: its script was told, the worker that sent it or the gateway that was
-- to hear it was away, the worker counted it, or ended before it could: what Redis has
-- not confirmed by then is known to nobody.
local Findings = require "spec.fault.findings"

local M = {}

local MARGIN = 1 -- seconds between a loss and the gap that it is in, at most
local GRACE = 8 -- seconds before a client's unforeseen end for which it need not get anything
local CALL = 6 -- seconds that a call to the engine waits, with what a busy machine adds
M.CELLS = 5

local function seconds_of(date, hour, minute, second)
  local year, month, day = date:match "(%d+)-(%d+)-(%d+)"
  return os.time { year = year, month = month, day = day, hour = hour, min = minute, sec = 0 } + tonumber(second)
end

--- When the processes of a cell were not there, from its log: by "worker PID" and
--- "gateway/SLOT", lists of { from, to, pid, start }. start: it had not been there before.
function M.absences(log)
  local all, pid_of = {}, {}
  local function now_away(key, at, start)
    all[key] = all[key] or {}
    table.insert(all[key], { from = at, to = math.huge, start = start, pid = pid_of[key] })
  end
  for date, hour, minute, second, pid, role, slot, text in
    log:gmatch "(%d+%-%d+%-%d+)T(%d+):(%d+):([%d.]+) %[(%d+) (%a+)/(%d+)%]([^\n]*)" do
    local key = role == "gateway" and "gateway/" .. slot or role == "worker" and "worker " .. pid
    if key then
      local at = seconds_of(date, hour, minute, second)
      local list = all[key]
      if pid_of[key] ~= pid then
        pid_of[key] = pid
        if list and list[#list].to == math.huge then
          list[#list].start = true -- that one never was, or was killed meanwhile
        else
          now_away(key, list and at or 0, true)
        end
        list = all[key]
      end
      if text:find("the cluster is there", 1, true) then
        local last, away = list[#list], tonumber(text:match "away_ms=(%d+)")
        last.to = at
        if away and not last.start then last.from = math.min(last.from, at - away / 1000) end
      elseif (text:find("the cluster is away", 1, true) or text:find("left the cluster", 1, true))
        and list[#list].to ~= math.huge then
        now_away(key, at, false)
      end
    end
  end
  return all
end

-- Whether a moment lies in one of the absences, or `before` seconds before its end.
local function is_within(list, at, before)
  for _, gap in ipairs(list or {}) do
    if at >= gap.from - (before or MARGIN) and at <= gap.to + MARGIN then return true end
  end
  return false
end

local function set_of(text)
  local set = {}
  for word in text:gmatch "[^,]+" do set[word] = true end
  return set
end

local readers = {}

-- NAME is CELL-PID-LOADED-NUMBER-TIME.
function readers.X(book, at, name, kind, target, result)
  local cell, pid, loaded, number = name:match "^(%d+)%-(%d+)%-(%x+)%-(%d+)%-"
  local send = { at = at, name = name, cell = assert(tonumber(cell)), pid = pid, sender = pid .. "-" .. loaded,
    number = tonumber(number), kind = kind, target = target, names = set_of(target), result = assert(result) }
  book.sends[#book.sends + 1], book.by_name[name] = send, send
  book.seen_at[pid] = math.max(book.seen_at[pid] or 0, at)
end

function readers.J(book, at, id, uid, groups, bound, joined)
  book.joins[id] = { at = at, uid = uid, groups = set_of(groups), bound = bound == "true" or bound == "local",
    joined = joined == "true" or joined == "local" }
end

function readers.G(book, at, cell, since)
  book.gone[cell] = book.gone[cell] or {}
  table.insert(book.gone[cell], { at = at, since = assert(tonumber(since)) })
end

function readers.P(book, at, cell, seconds)
  book.told[cell] = book.told[cell] or {}
  table.insert(book.told[cell], { at = at, seconds = assert(tonumber(seconds)) })
end

--- What the scripts wrote.
function M.read(lines, findings)
  local book = { sends = {}, by_name = {}, joins = {}, gone = {}, told = {}, seen_at = {} }
  for line in lines do
    local words = {}
    for word in line:gmatch "[^ ]+" do words[#words + 1] = word end
    local reader, at = readers[words[2]], tonumber(words[1])
    if not reader or not at or not pcall(reader, book, at, table.unpack(words, 3)) then
      findings:add("line_unreadable", line)
    end
  end
  return book
end

-- Whether the send is for the life: nil where that is not known.
local function is_for(send, life)
  local join = life.join
  if send.kind == "client" then return send.target == life.id end
  if send.kind == "all" then return true end
  if send.kind == "uid" or send.kind == "uids" then
    if not join or not join.bound then return nil end
    return send.names[join.uid] == true
  end
  if not join or not join.joined then return nil end
  for name in pairs(send.names) do
    if join.groups[name] then return true end
  end
  return false
end

-- What a client got: from whom it may be, once, in order.
local function judge_life(book, findings, history, life)
  local last, times = {}, {}
  for _, name in ipairs(life.came) do
    local send = book.by_name[name]
    times[name] = (times[name] or 0) + 1
    if times[name] == 2 then findings:add("crossing_twice", life.token .. " " .. name) end
    if not send then
      if not history.dead[name:match "^%d+%-(%d+)" or ""] then findings:add("crossing_unsent", life.token .. " " .. name) end
    elseif times[name] == 1 then
      if send.kind == "client" and send.result ~= "true" then
        findings:add("crossing_unsent", ("%s %s, its script was told %s"):format(life.token, name, send.result))
      end
      if is_for(send, life) == false then findings:add("crossing_astray", life.token .. " " .. name) end
      if send.number < (last[send.sender] or 0) then
        findings:add("crossing_reordered", ("%s %s after %d"):format(life.token, name, last[send.sender]))
      end
      last[send.sender] = send.number
      book.arrived[send.cell .. ">" .. life.cell] = true
      book.counted.arrived = book.counted.arrived + 1
    end
  end
  life.got = times
end

-- Why the life has not got what was sent to it, or nil.
local function reason(book, history, send, life)
  if send.result ~= "true" then return "told" end
  local sender = book.absences[send.cell]["worker " .. send.pid]
  local receiver = book.absences[life.cell][life.gateway:match " (.*)"]
  if is_within(sender, send.at) or is_within(receiver, send.at) then return "gap" end
  if history.dead[send.pid] and send.at >= book.seen_at[send.pid] - CALL then return "dead" end
  if is_within(sender, send.at, CALL) and not book.counted_once[send.name]
    and (book.lost[send.pid] or 0) > 0 then
    book.lost[send.pid] = book.lost[send.pid] - 1
    book.counted_once[send.name] = true
  end
  return book.counted_once[send.name] and "counted" or nil
end

local function judge_send(book, findings, history, send)
  if send.result == "local" and not is_within(book.absences[send.cell]["worker " .. send.pid], send.at) then
    findings:add("told_wrongly", ("%s at %.3f"):format(send.name, send.at))
  end
  for _, life in ipairs(history.lives) do
    local due = life.id and life.join and life.join.at < send.at and is_for(send, life)
      and (life.ended == "orderly" or send.at < life.ended_at - GRACE)
    if due then
      book.counted.due = book.counted.due + 1
      if not life.got[send.name] then
        local why = reason(book, history, send, life)
        if life.cell == send.cell and why ~= "dead" then why = "inside" end
        local count = "missing_" .. (why or "unexplained")
        book.counted[count] = (book.counted[count] or 0) + 1
        if not why then
          findings:add("crossing_missing", ("%s %s %s at %.3f for %s of cell %d, %s"):format(send.name, send.kind,
            send.target, send.at, life.token, life.cell, life.gateway))
        end
      end
    end
  end
end

-- Events.onCellGone: once in the system for a cell that was killed, and for nobody
-- who did not look gone.
local function judge_gone(book, findings, history)
  for cell, times in pairs(history.killed) do
    local count = #(book.gone[cell] or {})
    if count < times then findings:add("gone_missing", cell, times - count) end
  end
  for cell, list in pairs(book.gone) do
    local most = (history.killed[cell] or 0) + (history.may_be_gone[cell] or 0)
    if #list > most then
      findings:add(most > 0 and "gone_twice" or "gone_wrong", ("%s at %.3f"):format(cell, list[#list].at), #list - most)
    end
  end
end

--- The cells that came back from a gap that no Events.onClusterGap has told of: a list.
--- Whose processes are dead by now need not.
function M.untold(book, absences, dead, began)
  local list = {}
  for i = 1, M.CELLS do
    local last = 0
    for _, gaps in pairs(absences[i]) do
      for _, gap in ipairs(gaps) do
        if not gap.start and not dead[gap.pid] and gap.to < math.huge and gap.to > began then last = math.max(last, gap.to) end
      end
    end
    local told = 0
    for _, line in ipairs(book.told["cell" .. i] or {}) do told = math.max(told, line.at) end
    if told < last then list[#list + 1] = "cell" .. i end
  end
  return list
end

--- The absences of all cells.
function M.all_absences(logs)
  local list = {}
  for i = 1, M.CELLS do list[i] = M.absences(logs[i]) end
  return list
end

local function judge_counts(book, findings, history)
  for _, name in ipairs(M.untold(book, book.absences, history.dead, history.began)) do findings:add("gap_untold", name) end
  for _, r in ipairs(history.recoveries) do
    if r.seconds > r.bound then
      findings:add("recovery_late", ("%s: %.1f s, %d s are allowed"):format(r.name, r.seconds, r.bound))
    end
  end
  for _, f in ipairs(history.free) do
    if f.gaps > 0 then findings:add("free_fault_cost", ("%s: %d gaps"):format(f.name, f.gaps), f.gaps) end
  end
  if history.faulty > 0 then findings:add("crossing_faulty", "engine_faulty", history.faulty) end
  local uncounted = book.counted.missing_inside - history.inside
  if uncounted > 0 then
    findings:add("inside_missing", ("%d did not arrive, %d counted"):format(book.counted.missing_inside, history.inside),
      uncounted)
  end
  for from = 1, M.CELLS do
    for to = 1, M.CELLS do
      if not book.arrived[from .. ">" .. to] then findings:add("nothing_crossed", from .. ">" .. to) end
    end
  end
end

--- The findings of a round, and what was counted.
---   history.lines        iterator over what all cells' scripts wrote
---   history.lives        list of { cell, token, id, gateway ("CELL gateway/SLOT"), came (names,
---                        in order), ended ("orderly", or otherwise), ended_at }
---   history.logs         the log of each cell
---   history.lost         by worker's pid: what it counted as lost
---   history.inside       what the cells counted of sends inside that did not arrive
---   history.dead         set of the pids that are gone
---   history.killed       by cell: how often it was killed
---   history.may_be_gone  by cell: how often it may look so
---   history.free         list of { name, gaps }: faults that may cost nothing, and what they cost
---   history.recoveries   list of { name, seconds, bound }
---   history.faulty       envelopes that gateways did not understand
---   history.began        when the round began
function M.judge(history)
  local findings = Findings.new()
  local book = M.read(history.lines, findings)
  book.absences, book.arrived, book.counted_once = M.all_absences(history.logs), {}, {}
  book.lost = setmetatable({}, { __index = history.lost })
  book.counted = { sends = #book.sends, arrived = 0, due = 0, missing_inside = 0 }
  for _, life in ipairs(history.lives) do
    life.join = life.id and book.joins[life.id]
    judge_life(book, findings, history, life)
  end
  for _, send in ipairs(book.sends) do judge_send(book, findings, history, send) end
  judge_gone(book, findings, history)
  judge_counts(book, findings, history)
  return findings, book.counted, book
end

return M
