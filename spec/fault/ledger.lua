-- The accounting of a round: what clients sent and got, what the scripts' log says
-- and what the system counted are held against each other. Pure: no clock, no
-- sockets. Every finding is a number of violations with some examples; which of
-- them are promised stands in spec/fault/promises.lua.
--
-- It never passes what it has not counted: a log that it cannot read, or a round
-- without a close, a message or a counter, is a finding.
local Findings = require "spec.fault.findings"

local M = {}

--- What the counters of processes mean: events that did not run, or not to their
--- end; sends that did not arrive. A counter that no process has is 0.
M.EVENT_COUNTERS = {
  gateway = { "events_dropped", "events_cut_off", "events_unknown" },
  worker = { "events_cut_off" },
}
--- Of them those that may have run: they hide no loss, and are none for certain.
M.UNKNOWN_COUNTERS = { gateway = { "events_unknown" } }
M.SEND_COUNTERS = {
  gateway = { "dropped", "overflow_dropped", "events_unknown", "sends_lost" },
  worker = { "sends_lost", "sends_failed" },
}

--- Events that a link may cost (P4): what its other side may have begun.
M.WINDOW = 256

-- One event of one client: how often it began and ended, and where last.
local function event_of(client, name)
  local event = client.events[name]
  if not event then
    event = { begun = 0, ended = 0 }
    client.events[name] = event
  end
  return event
end

local function client_of(book, id)
  local client = book.clients[id]
  if not client then
    client = { id = id, events = {}, last = 0, late = 0, connects = 0, closes = 0, uncertain = 0, early = book.earlier[id] }
    book.clients[id] = client
  end
  return client
end

-- A worker was stopped in a handler in front of its first line, its links broke, and it
-- goes on: it has left no line since the client's next message began elsewhere. Its
-- handler had begun before that one, and overlaps it.
local function was_stopped(book, client, worker)
  return book.cut and client.moved_from == worker and (book.spoke[worker] or 0) < client.moved_at
end

local function begin_message(book, findings, client, number, worker)
  local event = event_of(client, number)
  if event.begun == 0 and number < client.last and was_stopped(book, client, worker) then
    findings:add("handlers_overlap", ("%s %d in %s, which was stopped"):format(client.id, number, worker))
    client.late = client.late + 1
    event.begun, event.worker, book.current[worker] = 1, worker, event
    return
  end
  if event.begun > 0 then
    findings:add("message_twice", client.id .. " " .. number)
  elseif number < client.last then
    findings:add("message_reordered", ("%s %d after %d"):format(client.id, number, client.last))
  end
  if client.closes > 0 then findings:add("message_after_close", client.id .. " " .. number) end
  local running = client.running
  if running and running.ended == 0 and (running.worker == worker or not book.dead[running.worker]) then
    findings:add("handlers_overlap", ("%s %d in %s beside one in %s"):format(client.id, number, worker, running.worker))
  end
  event.begun, event.worker = event.begun + 1, worker
  client.last = math.max(client.last, number)
  if client.worker and client.worker ~= worker then
    book.counted.moves = book.counted.moves + 1
    client.moved_from, client.moved_at = client.worker, book.counted.lines
  end
  client.worker = worker
  client.running, book.current[worker] = event, event
end

-- An onConnect or onClose of this client has left no line.
local function unseen(book, id, finding)
  book.unseen[id] = book.unseen[id] or {}
  table.insert(book.unseen[id], finding)
end

local function begin_close(book, findings, client, worker, by, cause, certain, session)
  local event = event_of(client, "close")
  if certain == "certain" then
    if client.closes > 0 or client.early then
      findings:add("close_twice", client.id)
    elseif client.connects == 0 then
      unseen(book, client.id, "close_without_connect")
    end
    client.closes = client.closes + 1
  else
    if not book.away then findings:add("close_uncertain", client.id) end
    if client.closes + client.uncertain > 0 or client.early then
      findings:add("close_uncertain_twice", client.id)
    elseif client.connects == 0 then
      unseen(book, client.id, "close_without_connect")
    end
    client.uncertain = client.uncertain + 1
  end
  event.begun, event.worker = event.begun + 1, worker
  client.close = { by = by, cause = cause, session = session }
end

local readers = {}

function readers.W(book, _, worker) book.workers[worker] = true end
function readers.X(book, _, worker) book.stopped[worker] = true end
function readers.N(book) book.counted.bound = book.counted.bound + 1 end

function readers.B(book, findings, worker, kind, id, a, b, c, d)
  local client = client_of(book, id)
  if kind == "message" then
    local number = assert(math.tointeger(tonumber(b)))
    client.life = client.life or a
    begin_message(book, findings, client, number, worker)
    book.counted.messages = book.counted.messages + 1
  elseif kind == "connect" then
    client.connects = client.connects + 1
    if client.connects > 1 then findings:add("connect_twice", id) end
    local event = event_of(client, "connect")
    event.begun, event.worker = event.begun + 1, worker
    book.counted.connects = book.counted.connects + 1
  else
    assert(kind == "close")
    begin_close(book, findings, client, worker, a, b, c, d)
    book.counted.closes = book.counted.closes + 1
  end
end

function readers.E(book, _, _, kind, id, _, number)
  local client = assert(book.clients[id])
  local event = assert(client.events[kind == "message" and math.tointeger(tonumber(number)) or kind])
  event.ended = event.ended + 1
end

function readers.S(book, _, worker, name, target, result)
  book.sends[#book.sends + 1] = { name = name, target = target, result = result, event = book.current[worker] }
  book.counted.sends = book.counted.sends + 1
end

--- Read the log of the scripts into a book.
local function read_log(findings, history)
  local book = {
    earlier = history.earlier or {}, dead = history.dead, away = history.away or history.booted,
    cut = history.cut,
    clients = {}, workers = {}, stopped = {}, sends = {}, current = {},
    spoke = {}, -- by worker: how many lines were in front of its last one
    unseen = {},
    counted = { lines = 0, connects = 0, messages = 0, closes = 0, sends = 0, bound = 0, moves = 0, answers = 0, lives = 0 },
  }
  for line in history.lines do
    local words = {}
    for word in line:gmatch "[^ ]+" do words[#words + 1] = word end
    local reader = readers[words[1]]
    if not reader or not pcall(reader, book, findings, table.unpack(words, 2)) then
      findings:add("line_unreadable", line)
    end
    if words[2] then book.spoke[words[2]] = book.counted.lines end
    book.counted.lines = book.counted.lines + 1
  end
  return book
end

local function sum(counters, names)
  local total = 0
  for role, list in pairs(names) do
    for _, process in ipairs(counters[role] or {}) do
      for _, name in ipairs(list) do total = total + (process[name] or 0) end
    end
  end
  return total
end

-- P1, once everybody is gone. A worker can be killed when an event has begun and its
-- handler has not written a line yet: that is one event for each that was killed.
local function judge_closes(book, findings, history)
  for id, client in pairs(book.clients) do
    local told = client.closes > 0 or (history.booted and client.uncertain > 0)
    if client.connects == 0 and not client.early then unseen(book, id, "connect_missing") end
    if client.connects > 0 and not told then unseen(book, id, "close_missing") end
  end
  local may, count = 0, 0
  for worker in pairs(book.dead) do
    if not book.stopped[worker] then may = may + 1 end
  end
  for _ in pairs(book.unseen) do count = count + 1 end
  book.counted.unseen = count
  if count <= may then return end
  for id, list in pairs(book.unseen) do
    for _, finding in ipairs(list) do findings:add(finding, id) end
  end
end

-- What the client saw, where its connection lived until all was quiet.
local function judge_life(book, findings, token, life)
  local client = life.id and book.clients[life.id]
  book.counted.lives = book.counted.lives + 1
  if life.id and not client then findings:add("connect_missing", life.id) end
  for number, times in pairs(life.got) do
    book.counted.answers = book.counted.answers + times
    if times > 1 then findings:add("answer_twice", token .. " " .. number) end
    if number > life.sent then findings:add("answer_of_nothing", token .. " " .. number) end
    if not client or not client.events[number] then findings:add("answer_without_handler", token .. " " .. number) end
  end
  local reordered = life.reordered - (client and client.late or 0)
  if reordered > 0 then findings:add("answer_reordered", token, reordered) end
  for name, times in pairs(life.others) do
    if times > 1 then findings:add("send_twice", token .. " " .. name) end
  end
  if life.ended == "lost" and not life.excused then findings:add("disconnected", token) end
  local close = client and client.close
  if close and life.ended == "orderly" then
    if close.cause ~= "client" and close.cause ~= "-" then
      findings:add("close_info_wrong", ("%s ended itself, cause=%s"):format(life.id, close.cause))
    end
    -- What was answered is stored, and of what was not answered perhaps some.
    local session = tonumber(close.session)
    if life.session and not (session and session >= life.session and life.stored[session]) then
      findings:add("close_info_wrong", ("%s session %s, not %s"):format(life.id, close.session, life.session))
    end
  end
end

-- How the messages of a life ended. sure: did not run to their end. unsure: ran to
-- their end in a worker that died, or that was cut off, which its gateway may not
-- know. silent: without an answer.
local function count_messages(book, history, life)
  local client = life.id and book.clients[life.id]
  local sure, unsure, silent = 0, 0, 0
  for number = 1, life.sent do
    local event = client and client.events[number]
    if not life.got[number] then
      silent = silent + 1
      if not event or event.ended == 0 then
        sure = sure + 1
        if event then event.cut = true end
      elseif history.cut or history.dead[event.worker] then
        unsure = unsure + 1
        event.cut = true
      end
    end
  end
  return sure, unsure, silent
end

-- Connects and closes that a gateway may have counted as not run to their end.
local function count_others(book, history)
  local cut = 0
  for _, client in pairs(book.clients) do
    for _, name in ipairs(client.early and {} or { "connect", "close" }) do
      local event = client.events[name]
      if history.cut or not event or event.ended == 0 or history.dead[event.worker] then cut = cut + 1 end
    end
  end
  return cut
end

local function accounted(life) return life.ended == "orderly" or life.ended == "open" end

-- P3 for events: none is missing that no counter has, and no counter has what ran.
local function judge_events(book, findings, history)
  local sure, unsure, silent, slack = 0, 0, 0, count_others(book, history)
  for _, life in pairs(history.lives) do
    local a, b, c = count_messages(book, history, life)
    if accounted(life) then
      sure, unsure, silent = sure + a, unsure + b, silent + c
    else
      slack = slack + a + b
    end
  end
  local counted = sum(history.counters, M.EVENT_COUNTERS)
  local unknown = sum(history.counters, M.UNKNOWN_COUNTERS)
  local sends = sum(history.counters, M.SEND_COUNTERS)
  local figures = { sure = sure, unsure = unsure, silent = silent, counted = counted, sends = sends }
  if sure > counted then
    findings:add("event_uncounted", ("%d did not run to their end, %d counted"):format(sure, counted), sure - counted)
  end
  if counted - unknown > sure + unsure + slack then
    findings:add("event_overcounted",
      ("%d counted, at most %d can be meant"):format(counted - unknown, sure + unsure + slack),
      counted - unknown - sure - unsure - slack)
  end
  return figures
end

-- P4: what broken links cost. What their workers began and did not end is no loss of
-- the link.
local function judge_links(findings, history)
  local lost = sum(history.counters, { gateway = { "events_dropped", "events_unknown" } })
  local allowed = history.links and history.links * M.WINDOW
  if allowed and lost > allowed then
    findings:add("link_cost", ("%d events lost with %d links"):format(lost, history.links), lost - allowed)
  end
end

-- P3 for sends: what the script was told true about arrived, or is counted.
local function judge_sends(book, findings, history, figures)
  local life_of, missing, failed = {}, 0, 0
  for _, life in pairs(history.lives) do
    if life.id then life_of[life.id] = life end
  end
  for _, send in ipairs(book.sends) do
    local life = life_of[send.target]
    if send.result ~= "true" then
      failed = failed + 1
    elseif life and accounted(life) and not life.others[send.name] and not (send.event and send.event.cut) then
      missing = missing + 1
    end
  end
  -- An answer that a worker sent and the client has not got; the event may be counted.
  local as_events = math.min(figures.unsure, math.max(0, figures.counted - figures.sure))
  missing = missing + figures.silent - figures.sure - as_events
  figures.sends_missing, figures.sends_refused = missing, failed
  if missing > figures.sends then
    findings:add("send_uncounted", ("%d did not arrive, %d counted"):format(missing, figures.sends),
      missing - figures.sends)
  end
end

local MINIMUM = { "lines", "connects", "messages", "closes", "answers", "lives" }

--- The findings of a round, what was counted, what was lost, and its clients by id.
---   history.lines     iterator over the log's lines
---   history.lives     by token: id, sent (messages 1 to that), got (how often each
---                     was answered), others (how often each named send came),
---                     reordered, session (the last message whose answer it got that
---                     stored its number), stored (set of all that may have), ended ("orderly":
---                     by itself when all was quiet; "open"; "abrupt": by itself
---                     meanwhile; "lost": by the system), excused (a fault took it)
---   history.counters  gateway, worker: lists of what each process counted meanwhile
---   history.earlier   set of the ids of earlier rounds, whose onClose has begun
---   history.dead      set of workers' pids that did not end in order
---   history.links     how many links broke, when nothing else did
---   history.away      whether a machine could not be reached meanwhile
---   history.booted    whether one was booted anew: then an onClose that is not certain
---                     will do
---   history.cut       whether links between living processes broke
function M.judge(history)
  local findings = Findings.new()
  local book = read_log(findings, history)
  judge_closes(book, findings, history)
  for token, life in pairs(history.lives) do judge_life(book, findings, token, life) end
  local figures = judge_events(book, findings, history)
  judge_sends(book, findings, history, figures)
  judge_links(findings, history)
  for _, name in ipairs(MINIMUM) do
    if book.counted[name] == 0 then findings:add("nothing_counted", name) end
  end
  for _, role in ipairs { "gateway", "worker" } do
    if #(history.counters[role] or {}) == 0 then findings:add("nothing_counted", role .. " counters") end
  end
  return findings, book.counted, figures, book.clients
end

return M
