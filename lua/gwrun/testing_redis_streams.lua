-- Streams of testing.redis(): XADD, XREAD and their like, with consumer groups.
--
-- A stream is { entries = list of { ms, seq, fields }, ms =, seq = (of the last
-- entry there ever was), groups = name → { ms, seq, pending = list } }.
local null = require("cjson").null

local M = {}

local function less(a, b) return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2]) end

local function text_of(id) return ("%d-%d"):format(id[1], id[2]) end

local function entry_of(e) return { text_of(e), e.fields } end

return function(C, fail, get, make, now)
  local function bad_id() fail "ERR Invalid stream ID specified as stream command argument" end

  -- "5-1", or "5" with that sequence number.
  local function parse_id(text, sequence)
    local ms, seq = text:match "^(%d+)%-(%d+)$"
    ms = math.tointeger(tonumber(ms or text:match "^%d+$"))
    if not ms then bad_id() end
    return { ms, seq and math.tointeger(tonumber(seq)) or sequence }
  end

  local function count_of(text)
    local n = math.tointeger(tonumber(text))
    if not n then fail "ERR value is not an integer or out of range" end
    return n
  end

  local function stream_at(store, key) return get(store, key, "stream") end

  local function trim(stream, how, limit)
    local n = 0
    local function is_over()
      if how == "MAXLEN" then return #stream.entries > count_of(limit) end
      return less(stream.entries[1], parse_id(limit, 0))
    end
    while stream.entries[1] and is_over() do
      table.remove(stream.entries, 1)
      n = n + 1
    end
    return n
  end

  -- MAXLEN ~ 1000 LIMIT 10: how, limit, how many words.
  local function take_trim(words, i)
    local how, at = words[i]:upper(), i + 1
    if words[at] == "~" or words[at] == "=" then at = at + 1 end
    local limit = words[at]
    if (words[at + 1] or ""):upper() == "LIMIT" then at = at + 2 end
    return how, limit, at - i + 1
  end

  local function next_id(store, stream, text)
    local last = { stream.ms, stream.seq }
    if text == "*" then
      local id = { math.floor(now(store) * 1000), 0 }
      return less(last, id) and id or { last[1], last[2] + 1 }
    end
    local ms = text:match "^(%d+)%-%*$"
    if ms then
      ms = math.tointeger(tonumber(ms))
      return { ms, ms == last[1] and last[2] + 1 or 0 }
    end
    return parse_id(text, 0)
  end

  function C.XADD(store, key, ...)
    local words, i, how, limit = { ... }, 1, nil, nil
    while words[i] do
      local word, used = words[i]:upper(), 1
      if word == "MAXLEN" or word == "MINID" then
        how, limit, used = take_trim(words, i)
      elseif word == "NOMKSTREAM" then
        if not stream_at(store, key) then return nil end
      else
        break
      end
      i = i + used
    end
    if (#words - i) % 2 ~= 0 or #words - i < 2 then
      fail "ERR wrong number of arguments for 'xadd' command"
    end
    local there = stream_at(store, key) or { ms = 0, seq = 0 }
    local id = next_id(store, there, words[i])
    if not less({ there.ms, there.seq }, id) then
      fail "ERR The ID specified in XADD is equal or smaller than the target stream top item"
    end
    local stream = make(store, key, "stream")
    id.fields = table.move(words, i + 1, #words, 1, {})
    stream.ms, stream.seq = id[1], id[2]
    table.insert(stream.entries, id)
    if how then trim(stream, how, limit) end
    return text_of(id)
  end

  function C.XLEN(store, key)
    local stream = stream_at(store, key)
    return stream and #stream.entries or 0
  end

  -- The end of a range: an id, and whether it is out of it.
  local function bound(text, sequence)
    if text == "-" then return { 0, 0 }, false end
    if text == "+" then return { math.maxinteger, math.maxinteger }, false end
    local open = text:match "^%((.*)$"
    return parse_id(open or text, sequence), open ~= nil
  end

  local function between(store, key, first, last)
    local low, above = bound(first, 0)
    local high, below = bound(last, math.maxinteger)
    local list, stream = {}, stream_at(store, key)
    for _, e in ipairs(stream and stream.entries or {}) do
      if not less(e, low) and not less(high, e) and not (above and not less(low, e))
        and not (below and not less(e, high)) then
        list[#list + 1] = entry_of(e)
      end
    end
    return list
  end

  local function first_of(list, word, count)
    if not word then return list end
    if word:upper() ~= "COUNT" then fail "ERR syntax error" end
    return table.move(list, 1, math.min(#list, count_of(count)), 1, {})
  end

  function C.XRANGE(store, key, first, last, word, count)
    return first_of(between(store, key, first, last), word, count)
  end

  function C.XREVRANGE(store, key, last, first, word, count)
    local list = between(store, key, first, last)
    for i = 1, #list // 2 do list[i], list[#list - i + 1] = list[#list - i + 1], list[i] end
    return first_of(list, word, count)
  end

  function C.XDEL(store, key, ...)
    if not stream_at(store, key) then return 0 end
    local stream, n = make(store, key, "stream"), 0
    for _, text in ipairs { ... } do
      local id = parse_id(text, 0)
      for i, e in ipairs(stream.entries) do
        if e[1] == id[1] and e[2] == id[2] then
          table.remove(stream.entries, i)
          n = n + 1
          break
        end
      end
    end
    return n
  end

  function C.XTRIM(store, key, ...)
    if not stream_at(store, key) then return 0 end
    local how, limit = take_trim({ ... }, 1)
    if how ~= "MAXLEN" and how ~= "MINID" then fail "ERR syntax error" end
    return trim(make(store, key, "stream"), how, limit)
  end

  -- COUNT, BLOCK, NOACK, GROUP g c, then STREAMS with keys and ids.
  local function read_options(...)
    local words, options, i = { ... }, {}, 1
    while words[i] and words[i]:upper() ~= "STREAMS" do
      local word = words[i]:upper()
      if word == "COUNT" then
        options.count, i = count_of(words[i + 1]), i + 1
      elseif word == "BLOCK" then
        options.block, i = count_of(words[i + 1]), i + 1
      elseif word == "GROUP" then
        options.group, options.consumer, i = words[i + 1], words[i + 2], i + 2
      elseif word == "NOACK" then
        options.no_ack = true
      else
        fail "ERR syntax error"
      end
      i = i + 1
    end
    local n = (#words - i) // 2
    if n < 1 or (#words - i) % 2 ~= 0 then
      fail "ERR Unbalanced list of streams: for each stream key an ID must be specified"
    end
    options.keys, options.ids = {}, {}
    table.move(words, i + 1, i + n, 1, options.keys)
    table.move(words, i + n + 1, #words, 1, options.ids)
    options.first_id = i + n + 1 -- its place among the words
    return options
  end

  local function after(stream, id, count)
    local list = {}
    for _, e in ipairs(stream and stream.entries or {}) do
      if #list == count then break end
      if less(id, e) then list[#list + 1] = e end
    end
    return list
  end

  local function replies(list, key, entries)
    if #entries > 0 then
      for i, e in ipairs(entries) do entries[i] = entry_of(e) end
      list[#list + 1] = { key, entries }
    end
  end

  function C.XREAD(store, ...)
    local options, list = read_options(...), {}
    for i, key in ipairs(options.keys) do
      local stream, id = stream_at(store, key), options.ids[i]
      if id ~= "$" then
        replies(list, key, after(stream, parse_id(id, 0), options.count or -1))
      end
    end
    return #list > 0 and list or nil
  end

  -- ---- consumer groups ----

  local function group_at(store, key, name)
    local stream = stream_at(store, key)
    local group = stream and stream.groups[name]
    if not group then
      fail("NOGROUP No such key '%s' or consumer group '%s'", key, name)
    end
    return group, stream
  end

  function C.XGROUP(store, what, key, name, id, option)
    what = what:upper()
    if what == "CREATE" or what == "SETID" then
      if not stream_at(store, key) and (option or ""):upper() ~= "MKSTREAM" then
        fail("ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may "
          .. "want to use the MKSTREAM option to create an empty stream automatically.")
      end
      local stream = make(store, key, "stream")
      local group = stream.groups[name]
      if what == "CREATE" and group then fail "BUSYGROUP Consumer Group name already exists" end
      if what == "SETID" then group = group_at(store, key, name) end
      local last = id == "$" and { stream.ms, stream.seq } or parse_id(id, 0)
      stream.groups[name] = { last[1], last[2], pending = group and group.pending or {} }
      return "OK"
    elseif what == "DESTROY" then
      local stream = stream_at(store, key)
      if not stream or not stream.groups[name] then return 0 end
      stream.groups[name] = nil
      return 1
    end
    fail("ERR testing.redis() does not know XGROUP %s", what)
  end

  local function give(store, group, e, consumer)
    table.insert(group.pending, { e[1], e[2], entry = e, consumer = consumer,
      given = now(store), times = 1 })
  end

  local function own_pending(group, consumer, id, count)
    local list = {}
    for _, p in ipairs(group.pending) do
      if #list == count then break end
      if p.consumer == consumer and less(id, p) then list[#list + 1] = p.entry end
    end
    return list
  end

  function C.XREADGROUP(store, ...)
    local options, list = read_options(...), {}
    if not options.group then fail "ERR Missing GROUP option for XREADGROUP" end
    for i, key in ipairs(options.keys) do
      local group, stream = group_at(store, key, options.group)
      local count, consumer = options.count or -1, options.consumer
      if options.ids[i] == ">" then
        local new = after(stream, group, count)
        for _, e in ipairs(new) do
          group[1], group[2] = e[1], e[2]
          if not options.no_ack then give(store, group, e, consumer) end
        end
        replies(list, key, new)
      else -- what it was given before: an answer, also when there is none
        local old = own_pending(group, consumer, parse_id(options.ids[i], 0), count)
        for k, e in ipairs(old) do old[k] = entry_of(e) end
        list[#list + 1] = { key, old }
      end
    end
    return #list > 0 and list or nil
  end

  function C.XACK(store, key, name, ...)
    local stream = stream_at(store, key)
    local group, n = stream and stream.groups[name], 0
    for _, text in ipairs(group and { ... } or {}) do
      local id = parse_id(text, 0)
      for i, p in ipairs(group.pending) do
        if p[1] == id[1] and p[2] == id[2] then
          table.remove(group.pending, i)
          n = n + 1
          break
        end
      end
    end
    return n
  end

  local function summary(pending)
    if #pending == 0 then return { 0, null, null, null } end
    local counts, names, list = {}, {}, {}
    for _, p in ipairs(pending) do
      if not counts[p.consumer] then names[#names + 1] = p.consumer end
      counts[p.consumer] = (counts[p.consumer] or 0) + 1
    end
    table.sort(names)
    for i, name in ipairs(names) do list[i] = { name, tostring(counts[name]) } end
    return { #pending, text_of(pending[1]), text_of(pending[#pending]), list }
  end

  function C.XPENDING(store, key, name, ...)
    local group, words = group_at(store, key, name), { ... }
    local pending = table.move(group.pending, 1, #group.pending, 1, {})
    table.sort(pending, less)
    if #words == 0 then return summary(pending) end
    local idle = 0
    if words[1]:upper() == "IDLE" then
      idle = count_of(words[2])
      words = table.move(words, 3, #words, 1, {})
    end
    local low, high, list = bound(words[1], 0), bound(words[2], math.maxinteger), {}
    for _, p in ipairs(pending) do
      local ms = math.floor((now(store) - p.given) * 1000 + 0.5)
      if #list < count_of(words[3]) and not less(p, low) and not less(high, p) and ms >= idle
        and (not words[4] or words[4] == p.consumer) then
        list[#list + 1] = { text_of(p), p.consumer, ms, p.times }
      end
    end
    return list
  end

  function C.XCLAIM(store, key, name, consumer, idle, ...)
    local group, list = group_at(store, key, name), {}
    for _, text in ipairs { ... } do
      if not text:find "^%d" then fail("ERR testing.redis() does not know XCLAIM … %s", text) end
      local id = parse_id(text, 0)
      for _, p in ipairs(group.pending) do
        if p[1] == id[1] and p[2] == id[2]
          and (now(store) - p.given) * 1000 + 0.5 >= count_of(idle) then
          p.consumer, p.given, p.times = consumer, now(store), p.times + 1
          list[#list + 1] = entry_of(p.entry)
        end
      end
    end
    return list
  end

  -- ---- waiting ----

  local reads = { XREAD = true, XREADGROUP = true }

  --- Milliseconds that a command may wait for entries (0: for ever), or nil; and
  --- the command with the ids in the place of "$".
  function M.block_of(store, command)
    if not reads[tostring(command[1]):upper()] then return nil, command end
    local ok, options = pcall(read_options, table.unpack(command, 2))
    if not ok or not options.block then return nil, command end
    local pinned = table.move(command, 1, #command, 1, {})
    for i, key in ipairs(options.keys) do
      local ok_stream, stream = pcall(stream_at, store, key)
      if options.ids[i] == "$" and ok_stream then
        local last = stream and { stream.ms, stream.seq } or { 0, 0 }
        pinned[options.first_id + i] = text_of(last)
      end
    end
    return options.block, pinned
  end

  return M
end
