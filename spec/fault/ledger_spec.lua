-- The checker is checked: a history that is in order passes, and the same one with
-- one line or answer taken out, doubled or moved does not.
local ledger = require "spec.fault.ledger"
local promises = require "spec.fault.promises"

local ID, OTHER = "7f0000010b5400000001", "7f0000010b5400000002"

-- Two clients of one gateway, two messages each, in order.
local function history()
  return {
    log = {
      "W 10",
      "B 10 connect " .. ID, "E 10 connect " .. ID,
      "B 10 connect " .. OTHER, "E 10 connect " .. OTHER,
      "B 10 message " .. ID .. " a.1 1", "E 10 message " .. ID .. " a.1 1",
      "B 10 message " .. OTHER .. " b.1 1", "S 10 x1 " .. ID .. " true", "E 10 message " .. OTHER .. " b.1 1",
      "B 10 message " .. ID .. " a.1 2", "E 10 message " .. ID .. " a.1 2",
      "B 10 message " .. OTHER .. " b.1 2", "E 10 message " .. OTHER .. " b.1 2",
      "B 10 close " .. ID .. " client client certain 2 -", "E 10 close " .. ID,
      "B 10 close " .. OTHER .. " client client certain - -", "E 10 close " .. OTHER,
    },
    lives = {
      ["a.1"] = { id = ID, sent = 2, got = { 1, 1 }, others = { x1 = 1 }, reordered = 0,
        session = 2, stored = { [2] = true }, ended = "orderly" },
      ["b.1"] = { id = OTHER, sent = 2, got = { 1, 1 }, others = {}, reordered = 0, ended = "orderly" },
    },
    counters = { gateway = { { events_dropped = 0 } }, worker = { { sends_failed = 0 } } },
    dead = {},
  }
end

local function judge(h)
  local i = 0
  h.lines = function()
    i = i + 1
    return h.log[i]
  end
  return ledger.judge(h)
end

--- The only finding of the history, and how often; the table of promises knows it.
local function finding_of(h)
  local findings = judge(h)
  local kind = next(findings)
  assert(next(findings, kind) == nil, "more than one finding")
  if kind then promises.hold(findings, {}) end
  return kind, kind and findings[kind].count
end

local function line_at(h, text)
  for i, line in ipairs(h.log) do
    if line:find(text, 1, true) == 1 then return i end
  end
  error("no line " .. text)
end

local function take_out(h, text) return table.remove(h.log, line_at(h, text)) end

local function double(h, text)
  local i = line_at(h, text)
  table.insert(h.log, i, h.log[i])
end

-- What is done to the history, and what must be found. Each is one lie.
local cases = {
  { "an onClose that never came", "close_missing", function(h)
    take_out(h, "B 10 close " .. ID)
    take_out(h, "E 10 close " .. ID)
  end },
  { "an onClose that came twice", "close_twice", function(h) double(h, "B 10 close " .. ID) end },
  { "an onClose that is not certain, though no machine was away", "close_uncertain", function(h)
    local i = line_at(h, "B 10 close " .. ID)
    table.insert(h.log, i, (h.log[i]:gsub(" certain", " uncertain")))
  end },
  { "an onClose that came twice without being certain", "close_uncertain_twice", function(h)
    h.booted = true
    local i = line_at(h, "B 10 close " .. ID)
    h.log[i] = h.log[i]:gsub(" certain", " uncertain")
    double(h, "B 10 close " .. ID)
  end },
  { "an onClose that is not certain behind one that is", "close_uncertain_twice", function(h)
    h.away = true
    double(h, "B 10 close " .. ID)
    local i = line_at(h, "B 10 close " .. ID) + 1
    h.log[i] = h.log[i]:gsub(" certain", " uncertain")
  end },
  { "an onClose of nobody that is not certain", "close_without_connect", function(h)
    h.booted = true
    h.log[#h.log + 1] = "B 10 close 7f0000010b5400000009 client client uncertain - -"
    h.log[#h.log + 1] = "E 10 close 7f0000010b5400000009"
  end, also = "connect_missing" },
  { "an onClose of nobody", "close_without_connect", function(h)
    h.log[#h.log + 1] = "B 10 close 7f0000010b5400000009 client client certain - -"
    h.log[#h.log + 1] = "E 10 close 7f0000010b5400000009"
  end, also = "connect_missing" },
  { "an onClose in front of a message", "message_after_close", function(h)
    table.insert(h.log, line_at(h, "B 10 message " .. OTHER .. " b.1 2"), take_out(h, "B 10 close " .. OTHER))
  end },
  { "an onClose with another's session", "close_info_wrong", function(h)
    local i = line_at(h, "B 10 close " .. ID)
    h.log[i] = h.log[i]:gsub("certain 2", "certain 1")
  end },
  { "an onClose with another cause", "close_info_wrong", function(h)
    local i = line_at(h, "B 10 close " .. ID)
    h.log[i] = h.log[i]:gsub("client client", "lost gateway_lost")
  end },
  { "an onConnect that never came", "connect_missing", function(h)
    take_out(h, "B 10 connect " .. OTHER)
    take_out(h, "E 10 connect " .. OTHER)
  end, also = "close_without_connect" },
  { "an onConnect that came twice", "connect_twice", function(h) double(h, "B 10 connect " .. ID) end },
  { "a message that began twice", "message_twice", function(h)
    table.insert(h.log, line_at(h, "B 10 close " .. ID), "E 10 message " .. ID .. " a.1 2")
    table.insert(h.log, line_at(h, "B 10 close " .. ID), "B 10 message " .. ID .. " a.1 2")
  end },
  { "two messages in the wrong order", "message_reordered", function(h)
    local first = take_out(h, "B 10 message " .. ID .. " a.1 1")
    local last = take_out(h, "E 10 message " .. ID .. " a.1 1")
    local i = line_at(h, "B 10 close " .. ID)
    table.insert(h.log, i, last)
    table.insert(h.log, i, first)
  end },
  { "two handlers of one client at a time", "handlers_overlap", function(h)
    local last = take_out(h, "E 10 message " .. ID .. " a.1 1")
    table.insert(h.log, line_at(h, "B 10 message " .. ID .. " a.1 2") + 1, last)
  end },
  { "a message that never began", "event_uncounted", function(h)
    take_out(h, "B 10 message " .. OTHER .. " b.1 2")
    take_out(h, "E 10 message " .. OTHER .. " b.1 2")
    h.lives["b.1"].got[2] = nil
  end },
  { "a message that never ended", "event_uncounted", function(h)
    take_out(h, "E 10 message " .. OTHER .. " b.1 2")
    h.lives["b.1"].got[2] = nil
  end },
  { "a loss that was counted and did not happen", "event_overcounted", function(h)
    h.counters.gateway[1].events_dropped = 1
  end },
  { "links that cost more than their window", "link_cost", function(h)
    h.links, h.cut = 1, true
    h.counters.gateway[1].events_dropped = ledger.WINDOW + 1
  end, also = "event_overcounted" },
  { "an answer that came twice", "answer_twice", function(h) h.lives["a.1"].got[1] = 2 end },
  { "answers in the wrong order", "answer_reordered", function(h) h.lives["a.1"].reordered = 1 end },
  { "an answer to nothing", "answer_of_nothing", function(h) h.lives["a.1"].sent = 1 end },
  { "an answer of no handler", "answer_without_handler", function(h)
    take_out(h, "B 10 message " .. OTHER .. " b.1 2")
    take_out(h, "E 10 message " .. OTHER .. " b.1 2")
  end },
  { "an answer that did not arrive", "send_uncounted", function(h) h.lives["a.1"].got[1] = nil end },
  { "a send that did not arrive", "send_uncounted", function(h) h.lives["a.1"].others.x1 = nil end },
  { "a send that came twice", "send_twice", function(h) h.lives["a.1"].others.x1 = 2 end },
  { "a client that was disconnected", "disconnected", function(h)
    h.lives["a.1"].ended = "lost"
  end },
  { "a line that it cannot read", "line_unreadable", function(h) table.insert(h.log, 2, "B 10 mess") end },
  { "a process without counters", "nothing_counted", function(h) h.counters.worker = {} end },
}

describe("the ledger", function()
  it("passes a history that is in order", function()
    local findings, counted = judge(history())
    assert.is_nil(next(findings))
    assert.equal(4, counted.messages)
    assert.equal(2, counted.closes)
    assert.equal(4, counted.answers)
  end)

  for _, case in ipairs(cases) do
    local what, kind, doctor = table.unpack(case)
    it("finds " .. what, function()
      local h = history()
      doctor(h)
      if case.also then
        local findings = judge(h)
        assert.equal(1, findings:count(kind))
        assert.is_true(findings:count(case.also) > 0)
      else
        assert.same({ kind, 1 }, { finding_of(h) })
      end
    end)
  end

  -- The next message has run elsewhere when the first one's line comes.
  local function stopped(spoke_meanwhile)
    local h = history()
    local first = take_out(h, "B 10 message " .. ID .. " a.1 1")
    local last = take_out(h, "E 10 message " .. ID .. " a.1 1")
    local i = line_at(h, "B 10 message " .. ID .. " a.1 2")
    table.insert(h.log, i, "B 10 message " .. ID .. " a.1 0")
    table.insert(h.log, i + 1, "E 10 message " .. ID .. " a.1 0")
    h.log[i + 2], h.log[i + 3] = h.log[i + 2]:gsub(" 10 ", " 11 "), h.log[i + 3]:gsub(" 10 ", " 11 ")
    if spoke_meanwhile then
      i = line_at(h, "E 10 message " .. OTHER .. " b.1 2")
    else
      i = line_at(h, "B 10 message " .. OTHER .. " b.1 2") - 1
    end
    table.insert(h.log, i + 1, first)
    table.insert(h.log, i + 2, last)
    h.lives["a.1"].reordered = 1
    return h
  end

  it("takes a handler that was stopped in front of its first line for begun before", function()
    local h = stopped(false)
    assert.equal(1, judge(h):count "message_reordered")
    h.cut = true
    assert.same({ "handlers_overlap", 1 }, { finding_of(h) })
    h = stopped(true)
    h.cut = true
    assert.equal(1, judge(h):count "message_reordered")
  end)

  it("takes what the counters explain", function()
    local h = history()
    take_out(h, "E 10 message " .. OTHER .. " b.1 2")
    h.lives["b.1"].got[2] = nil
    h.counters.gateway[1].events_cut_off = 1
    assert.is_nil(finding_of(h))
  end)

  it("takes what ran behind a link that broke, and was counted as lost", function()
    local h = history()
    h.lives["b.1"].got[2] = nil
    h.counters.gateway[1].events_dropped = 1
    assert.equal(1, judge(h):count "event_overcounted")
    h.cut = true
    assert.is_nil(finding_of(h))
    h.counters.gateway[1].events_dropped = 0
    assert.same({ "send_uncounted", 1 }, { finding_of(h) })
  end)

  it("takes what may have run as explained, and not as a loss", function()
    local h = history()
    h.counters.gateway[1].events_unknown = 1
    assert.is_nil(finding_of(h))
    take_out(h, "B 10 message " .. OTHER .. " b.1 2")
    take_out(h, "E 10 message " .. OTHER .. " b.1 2")
    h.lives["b.1"].got[2] = nil
    assert.is_nil(finding_of(h))
  end)

  it("takes a send that a counter explains", function()
    local h = history()
    h.lives["a.1"].others.x1 = nil
    h.counters.gateway[1].dropped = 1
    assert.is_nil(finding_of(h))
  end)

  it("finds an onClose that had come in an earlier round", function()
    local h = history()
    h.earlier = { [ "7f0000010b5400000009" ] = true }
    h.log[#h.log + 1] = "B 10 close 7f0000010b5400000009 client client certain - -"
    assert.same({ "close_twice", 1 }, { finding_of(h) })
  end)

  it("takes an onClose that is not certain for one where a machine was booted anew", function()
    local h = history()
    local i = line_at(h, "B 10 close " .. ID)
    h.log[i] = h.log[i]:gsub(" certain", " uncertain")
    h.away = true
    assert.same({ "close_missing", 1 }, { finding_of(h) })
    h.booted = true
    assert.is_nil(finding_of(h))
  end)

  it("takes one event for each worker that was killed as begun without a line", function()
    local function without_close(...)
      local h = history()
      for _, id in ipairs { ... } do
        take_out(h, "B 10 close " .. id)
        take_out(h, "E 10 close " .. id)
      end
      return h
    end
    local h = without_close(ID)
    h.dead["10"] = true
    assert.is_nil(finding_of(h))
    h = without_close(ID, OTHER)
    h.dead["10"] = true
    assert.equal(2, (judge(h)):count "close_missing")
    h = without_close(ID)
    h.dead["10"] = true
    table.insert(h.log, line_at(h, "B 10 close"), "X 10") -- it ended in order
    assert.equal("close_missing", (finding_of(h)))
  end)

  it("counts how often a client got another worker", function()
    local h = history()
    local i = line_at(h, "B 10 message " .. ID .. " a.1 2")
    h.log[i] = h.log[i]:gsub("10", "11", 1)
    local _, counted = judge(h)
    assert.equal(1, counted.moves)
  end)

  it("does not pass a round in which nothing happened", function()
    local findings = judge { log = {}, lives = {}, counters = {}, dead = {} }
    assert.equal(8, findings:count "nothing_counted")
  end)
end)

describe("the table of promises", function()
  local function findings(kind)
    local h = history()
    for _, case in ipairs(cases) do
      if case[2] == kind then
        case[3](h)
        return judge(h)
      end
    end
  end

  it("calls broken what is promised", function()
    local broken, figures = promises.hold(findings "send_twice", { gateway_killed = true })
    assert.equal(1, #broken)
    assert.equal(0, #figures)
    assert.matches("P2 send_twice: 1 against", broken[1])
  end)

  it("calls a figure what is not promised after that fault", function()
    local row
    for _, r in ipairs(promises.rows) do row = row or (r.except and r) end
    if not row then return end -- all is promised
    local broken, figures = promises.hold(findings(row.finding), { [next(row.except)] = true })
    assert.equal(0, #broken)
    assert.is_truthy(figures[1]:find("missing is " .. row.missing, 1, true))
  end)

  it("has a case for each row", function()
    local seen = {}
    for _, case in ipairs(cases) do seen[case[2]] = true end
    for _, row in ipairs(promises.rows) do assert.is_true(seen[row.finding], row.finding) end
  end)

  it("says what is missing where it excepts a fault", function()
    for _, row in ipairs(promises.rows) do
      if row.except then assert.is_string(row.missing, row.finding) end
    end
  end)
end)
