-- What is promised at this moment. Each finding of the ledger belongs to a promise;
-- one that the program does not keep yet, at all or after some faults, is printed as
-- a figure, with what is missing. When a feature lands its `except` goes.
local M = {}

local END = "a gateway that waits for the end of a handler whose worker it cannot reach"
local DEAD = "a counter of what a dead worker of another machine had sent that outlives it"

-- except: faults after which it is not promised yet ("any": never); missing: why.
M.rows = {
  { finding = "close_missing", promise = "P1", except = { book_damaged = true },
    text = "onClose begins for every onConnect", missing = "a second copy of what a book says" },
  { finding = "close_twice", promise = "P1", text = "onClose begins once" },
  { finding = "close_without_connect", promise = "P1", text = "onClose comes for who has connected" },
  { finding = "close_uncertain", promise = "P1", text = "onClose is certain while all machines are there" },
  { finding = "close_uncertain_twice", promise = "P1",
    text = "an uncertain onClose comes once, and before a certain one" },
  { finding = "message_after_close", promise = "P1", except = { far_worker_stopped = true }, missing = END,
    text = "nothing comes after onClose" },
  { finding = "close_info_wrong", promise = "P1", text = "onClose knows session and cause" },
  { finding = "connect_missing", promise = "P1", text = "onConnect begins for everybody" },
  { finding = "connect_twice", promise = "P2", text = "onConnect begins once" },
  { finding = "message_twice", promise = "P2", text = "a handler begins once for a message" },
  { finding = "message_reordered", promise = "P2", except = { far_worker_stopped = true }, missing = END,
    text = "a client's messages begin in order" },
  { finding = "handlers_overlap", promise = "P2",
    except = { link_cut = true, near_link_cut = true, partition = true }, missing = END,
    text = "a client's handlers run one at a time" },
  { finding = "answer_twice", promise = "P2", text = "no client gets an answer twice" },
  { finding = "answer_reordered", promise = "P2", except = { far_worker_stopped = true }, missing = END,
    text = "a client gets answers in order" },
  { finding = "answer_of_nothing", promise = "P2", text = "nobody gets answers to what was not asked" },
  { finding = "answer_without_handler", promise = "P2", text = "each answer is a handler's" },
  { finding = "send_twice", promise = "P2", text = "a send arrives once" },
  { finding = "event_uncounted", promise = "P3", text = "an event that did not run to its end is counted" },
  { finding = "event_overcounted", promise = "P3", text = "no event is counted as lost that was not" },
  { finding = "send_uncounted", promise = "P3",
    except = { machine_off = true, far_worker_killed = true },
    text = "a send that did not arrive is counted", missing = DEAD },
  { finding = "disconnected", promise = "P4", text = "nobody is disconnected but by their gateway's end" },
  { finding = "link_cost", promise = "P4", text = "a link costs what its other side may have begun" },
  { finding = "line_unreadable", promise = "the laboratory", text = "the log can be read" },
  { finding = "nothing_counted", promise = "the laboratory", text = "there was something to count" },
}

local function by_finding(rows)
  local by = {}
  for _, row in ipairs(rows) do by[row.finding] = row end
  return by
end

local function excepted(row, faults)
  if not row.except then return nil end
  for fault in pairs(faults) do
    if row.except[fault] or row.except.any then return fault end
  end
  return row.except.any and "any"
end

--- Hold findings against the table: the lines of the broken promises, and of what is
--- not promised yet but was seen. faults: set of the names of what was done; rows:
--- another table, in place of M.rows.
function M.hold(findings, faults, rows)
  local broken, figures, by = {}, {}, by_finding(rows or M.rows)
  for finding, seen in pairs(findings) do
    local row = assert(by[finding], "a finding without a promise: " .. finding)
    local why = excepted(row, faults)
    local line = ("%s %s: %d against “%s” (%s)"):format(row.promise, finding, seen.count, row.text,
      table.concat(seen.examples, "; "))
    if why then
      figures[#figures + 1] = ("%s; not promised after %s: missing is %s"):format(line, why, row.missing)
    else
      broken[#broken + 1] = line
    end
  end
  table.sort(broken)
  table.sort(figures)
  return broken, figures
end

return M
