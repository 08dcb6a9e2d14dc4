-- Calls of Gateway that are to answer the same wherever its clients are: one case each, in an
-- order, with population.lua's people. Fields of a case:
--   [1]       Lua; who.NAME is a client's id, me the caller's
--   changes   names may have come or gone: wait until Redis knows
--   fresh     listeners of newcomers x1, x2, …, of the first, the second … cell
--   by        a newcomer of the caller's cell asks, and not the caller
--   cluster   what three cells answer by design, where one answers otherwise
local M = {}

local UNKNOWN = [[true, nil, "gateway <gateway> is in no cell that is there", "unknown_cell"]]

local function list() return setmetatable({}, { __index = table }) end

local cases = list()
local function case(lua, fields)
  fields = fields or {}
  fields[1] = lua
  cases:insert(fields)
end

-- to clients

case "return Gateway.sendToAll 'to all'"
case "return Gateway.sendToAll(42)"
case "return Gateway.sendToAll ''"
case "return Gateway.sendToAll('to some', { who.ann, who.bob, who.cat, who.sue })"
case "return Gateway.sendToAll('to one', who.dan)"
case "return Gateway.sendToAll('to one twice', { who.dan, who.dan, x = who.dan })"
case "return Gateway.sendToAll('to nobody', {})"
case "return Gateway.sendToAll('to whom nobody knows', { who.never })"
case "return Gateway.sendToAll('to some of no gateway', { who.bob, who.nowhere })"
case "return Gateway.sendToAll('not to one', nil, who.bob)"
case "return Gateway.sendToAll('not to some', nil, { who.ann, who.bob, who.cat, who.eve, who.fay, who.sue })"
case "return Gateway.sendToAll('not to me', nil, me)"
case "return Gateway.sendToAll('not to nobody', nil, {})"
case "return Gateway.sendToAll('not to whom nobody knows', nil, { who.never, who.nowhere })"
case "return Gateway.sendToAll('to some but one', { who.ann, who.bob, who.cat }, { who.bob, who.dan })"
case "return Gateway.sendToAll('to some but all', { who.ann, who.bob }, { who.bob, who.ann })"
case("local all = {} for id in pairs(Gateway.getAllClientIdList()) do all[#all + 1] = id end return " ..
  "Gateway.sendToAll('not to all', nil, all)")
case [[return Gateway.sendToAll('raw\n', nil, nil, true)]]
case [[return Gateway.sendToAll('raw, too\n', nil, nil, { raw = true })]]
case [[return Gateway.sendToAll('raw to some\n', { who.bob, who.eve, who.fay }, who.eve, { raw = true })]]
case [[return Gateway.sendToAll('\0\1\xff', nil, nil, { binary = true })]]
case [[return Gateway.sendToAll('as text', nil, nil, { binary = false })]]
case "return Gateway.sendToAll('labelled', nil, nil, { event = 'news', id = '7' })"
case "return Gateway.sendToAll('labelled, not to all', nil, { who.ann, who.cat }, { event = 'news' })"
case "return Gateway.sendToAll(('0123456789abcdef'):rep(2 ^ 13 | 0))"
case "return Gateway.sendToAll(('0123456789abcdef'):rep(2 ^ 14 | 0), nil, { who.bob, who.sue })"
case "return Gateway.sendToAll(('x'):rep(2 ^ 24 | 0))"
case "return Gateway.sendToAll(('x'):rep(2 ^ 24 | 0), nil, who.bob)"
for _, name in ipairs { "ann", "bob", "cat", "dan", "sue", "caller" } do
  case("return Gateway.sendToClient(who." .. name .. ", 'to a client')")
  case([[return Gateway.sendToClient(who.]] .. name .. [[, '\0\xff', { binary = true })]])
  case([[return Gateway.sendToClient(who.]] .. name .. [[, 'raw\n', true)]])
  case("return Gateway.sendToClient(who." .. name .. ", 'a', { event = 'e' }), Gateway.sendToClient(who." .. name .. ", 12.5)")
end
case "return Gateway.sendToClient(who.never, 'x')"
case("return Gateway.sendToClient(who.nowhere, 'x')", { cluster = UNKNOWN })
case "return Gateway.sendToClient(who.eve, ('y'):rep(2 ^ 21 | 0))"
case "return Gateway.sendToClient(who.eve, ('y'):rep(2 ^ 24 | 0))"
case("for i = 1, 50 do Gateway.sendToClient(who.eve, 'one ' .. i) Gateway.sendToAll('all ' .. i) " ..
  "Gateway.sendToUid('房间', 'uid ' .. i) Gateway.sendToGroup('two', 'group ' .. i) end")
case("for i = 1, 30 do Gateway.sendToGroup({ 'two', 'solo', 'lobby' }, 'groups ' .. i, i % 2 == 0 and who.eve or nil) " ..
  "Gateway.isOnline(who.eve) Gateway.sendToAll('all ' .. i, { who.eve, who.ann }) end")
case("return Gateway.sendToCurrentClient 'to me'", { by = true })
case([[return Gateway.sendToCurrentClient('raw\n', { raw = true })]], { by = true })

-- to uids

for _, uid in ipairs { "'ann'", "'shared'", "1001", "'1001'", "'房间'", "'sue'", "'nobody'", "{ 'ann', 'shared', 1001, 'nobody' }",
  "{ 'shared', 'shared' }", "{ a = 'shared', b = 'ann' }", "{}" } do
  case("return Gateway.sendToUid(" .. uid .. ", 'to uids')")
end
case [[return Gateway.sendToUid('shared', '\0\xff', { binary = true })]]
case [[return Gateway.sendToUid({ 'shared', 'sue' }, 'labelled', { event = 'e', id = 'i' })]]
case [[return Gateway.sendToUid('shared', 'raw\n', { raw = true })]]
case "local many = { 'ann', 1001 } for i = 1, 40 do many[#many + 1] = 'no' .. i end return Gateway.sendToUid(many, 'to many uids')"
case "local many = { 'ann', 1001 } for i = 1, 2000 do many[#many + 1] = 'no' .. i end return Gateway.sendToUid(many, 'to very many')"
case "return Gateway.sendToUid('shared', ('z'):rep(2 ^ 21 | 0))"
case "return Gateway.sendToUid('shared', ('z'):rep(2 ^ 24 | 0))"

-- to groups

for _, group in ipairs { "'lobby'", "'two'", "'solo'", "7", "'房间'", "'empty'", "{ 'lobby', 'two', 'solo', 7 }",
  "{ 'lobby', 'lobby' }",
  "{ 'empty', 'none' }", "{ x = 'two' }", "{}" } do
  case("return Gateway.sendToGroup(" .. group .. ", 'to groups')")
  case("return Gateway.sendToGroup(" .. group .. ", 'but some', { who.ann, who.bob, who.sue, who.never, who.nowhere })")
end
case "return Gateway.sendToGroup('lobby', 'not to one', who.cat)"
case "return Gateway.sendToGroup('lobby', 'not to none', {})"
case "return Gateway.sendToGroup('lobby', 'to none', { who.ann, who.bob, who.cat, who.dan, who.sue })"
case [[return Gateway.sendToGroup('lobby', '\0\xff', nil, { binary = true })]]
case [[return Gateway.sendToGroup('lobby', 'labelled', who.ann, { event = 'e', id = 'i' })]]
case [[return Gateway.sendToGroup({ 'lobby', 7 }, 'raw\n', { who.fay }, true)]]
case("local many = { 'lobby', 7 } for i = 1, 40 do many[#many + 1] = 'no' .. i end return " ..
  "Gateway.sendToGroup(many, 'to many groups', who.dan)")
case "return Gateway.sendToGroup('lobby', ('z'):rep(2 ^ 24 | 0))"

-- questions about one client

for _, name in ipairs { "ann", "bob", "cat", "dan", "eve", "fay", "gus", "sue", "caller", "never" } do
  case("local id = who." .. name .. " return Gateway.isOnline(id), Gateway.getSession(id), Gateway.getUidByClientId(id)")
  case("return Gateway.getGroupsByClientId(who." .. name .. ", 30)")
end
for _, call in ipairs { "isOnline", "getSession", "getUidByClientId", "getGroupsByClientId" } do
  case("return Gateway." .. call .. "(who.nowhere)", { cluster = UNKNOWN })
end

-- questions about uids and groups

for _, uid in ipairs { "'ann'", "'shared'", "1001", "'1001'", "'房间'", "'nobody'" } do
  case("return Gateway.isUidOnline(" .. uid .. "), Gateway.getClientIdByUid(" .. uid .. ", 30)")
end
for _, uids in ipairs { "'shared'", "{ 'ann', 'shared', 1001, 'nobody' }", "{ 'shared', 'shared' }", "{ 1001, '1001' }",
  "{ x = 'ann' }", "{}",
  "(function() local many = { 'ann' } for i = 1, 1500 do many[#many + 1] = 'no' .. i end return many end)()" } do
  case("return Gateway.isUidsOnline(" .. uids .. ")")
  case("return Gateway.batchGetClientIdByUid(" .. uids .. ", 30)")
end
for _, group in ipairs { "'lobby'", "'two'", "'solo'", "7", "'房间'", "'empty'" } do
  case("local g = " .. group .. " return Gateway.getClientIdCountByGroup(g), Gateway.getClientCountByGroup(g), " ..
    "Gateway.getClientSessionsByGroup(g), Gateway.getAllClientSessions(g, 30)")
end
for _, group in ipairs { "'lobby'", "7", "'empty'", "{ 'lobby', 'two', 7 }", "{ 'lobby', 'lobby' }", "{ x = 'two', y = 'empty' }", "{}",
  "(function() local many = { 'lobby' } for i = 1, 1500 do many[#many + 1] = 'no' .. i end return many end)()" } do
  case("local g = " .. group .. " return Gateway.getClientIdListByGroup(g)")
  case("local g = " .. group .. " return Gateway.getUidListByGroup(g), Gateway.getUidCountByGroup(g, 30)")
  case("local g = " .. group .. " return Gateway.batchGetClientIdCountByGroup(g)")
end
for _, group in ipairs { "", "nil", "''" } do
  case("return Gateway.getClientIdCountByGroup(" .. group .. ")")
  case("return Gateway.getClientCountByGroup(" .. group .. ")")
  case("return Gateway.getAllClientSessions(" .. group .. ")")
end

-- questions about all

for _, call in ipairs { "getAllClientIdCount", "getAllClientCount", "getAllClientIdList", "getAllClientSessions",
  "getAllUidList", "getAllUidCount",
  "getAllGroupIdList", "getAllGroupUidList", "getAllGroupUidCount", "getAllGroupClientIdList", "getAllGroupClientIdCount" } do
  case("return Gateway." .. call .. "()")
  case("return Gateway." .. call .. (call == "getAllClientSessions" and "(nil, 30)" or "(30)"))
end
case("local all, own, mine = Gateway.getAllClientIdList(), assert(Gateway.getMyClients(30)) for _, id in ipairs(own) do " ..
  "assert(all[id]) mine = mine or id == me end return mine")

-- what changes clients; each in a cell of its own

case("return Gateway.setSession(who.ann, { a = 1 }), Gateway.setSession(who.bob, { b = { 'x', y = 2.5 } }), " ..
  "Gateway.setSession(who.cat, {})")
case("return Gateway.updateSession(who.ann, { b = 2 }), Gateway.updateSession(who.bob, { b = { y = 3 } }), " ..
  "Gateway.updateSession(who.cat, { n = true })")
case "return Gateway.getAllClientSessions()"
case [[return Gateway.setSession(who.ann, { s = '\0\xff', [5] = 'five', ['6'] = 'six', f = 0.1, m = -1 }), Gateway.getSession(who.ann)]]
case [[return Gateway.setSession(who.cat, { s = '\0\xff', [5] = 'five', ['6'] = 'six', f = 0.1, m = -1 }), Gateway.getSession(who.cat)]]
case "return Gateway.setSession(who.bob, { f = print })"
case "return Gateway.setSession(who.never, { a = 1 }), Gateway.updateSession(who.never, { a = 1 }), Gateway.getSession(who.never)"
case("return Gateway.setSession(who.nowhere, { a = 1 })", { cluster = UNKNOWN })
case("return Gateway.updateSession(who.nowhere, { a = 1 })", { cluster = UNKNOWN })
-- dan and sue are at one gateway, whose answer is large then
for _, name in ipairs { "ann", "bob", "cat", "dan", "sue", "caller" } do
  case("return Gateway.setSession(who." .. name .. ", { big = ('s'):rep(2 ^ 21 | 0) })")
  case("return Gateway.updateSession(who." .. name .. ", { big = ('s'):rep(2 ^ 21 | 0) })")
  case("return Gateway.setSession(who." .. name .. ", { half = ('s'):rep(700000) }), " ..
    "#Gateway.getSession(who." .. name .. ").half")
end
local sizes = "local function sizes(map) for id, s in pairs(map) do map[id] = s.half and #s.half or s end return map end "
case(sizes .. "return sizes(Gateway.getAllClientSessions()), sizes(Gateway.getClientSessionsByGroup 'lobby')")
case("for _, name in ipairs { 'ann', 'bob', 'cat', 'dan', 'sue', 'caller' } do Gateway.setSession(who[name], { small = 1 }) end return " ..
  "Gateway.getAllClientSessions()")
case("_SESSION.seen = 1 Gateway.updateSession(me, { more = 2 }) return Gateway.getSession(me), _SESSION.more", { by = true })
case("return Gateway.setSession(me, { only = 1 }), Gateway.getSession(me), _SESSION.only", { by = true })

for _, name in ipairs { "gus", "dan", "fay" } do
  local id = "who." .. name
  case("return Gateway.bindUid(" .. id .. ", 'u1'), Gateway.getUidByClientId(" .. id .. ")", { changes = true })
  case("return Gateway.getClientIdByUid 'u1', Gateway.isUidOnline 'u1', Gateway.sendToUid('u1', 'to u1'), Gateway.getAllUidList()")
  case("return Gateway.bindUid(" .. id .. ", 2), Gateway.getUidByClientId(" .. id .. ")", { changes = true })
  case("return Gateway.getClientIdByUid 'u1', Gateway.isUidOnline 'u1', Gateway.isUidOnline(2), Gateway.sendToUid({ 'u1', 2 }, 'to 2')")
  case("return Gateway.unbindUid(" .. id .. ", 'u1'), Gateway.unbindUid(" .. id .. ", 2, 30), Gateway.getUidByClientId(" .. id
    .. ")", { changes = true })
  case("return Gateway.isUidOnline(2), Gateway.sendToUid(2, 'to nobody')")
  case("return Gateway.bindUid(" .. id .. ", 'w', { wait = true }), Gateway.isUidOnline 'w', Gateway.sendToUid('w', 'to w'), " ..
    "Gateway.unbindUid(" .. id .. ")", { changes = true })
  case("return Gateway.joinGroup(" .. id .. ", 'g1'), Gateway.getGroupsByClientId(" .. id .. ")", { changes = true })
  case("return Gateway.joinGroup(" .. id .. ", { 'g1', 'g2', 3, 'g2' })", { changes = true })
  case("return Gateway.sendToGroup({ 'g1', 'g2', 3 }, 'to three'), Gateway.getAllGroupClientIdList(), " ..
    "Gateway.getClientIdListByGroup { 'g1', 3 }")
  case("return Gateway.leaveGroup(" .. id .. ", 'g1'), Gateway.leaveGroup(" .. id .. ", { 'g2', 'never' })", { changes = true })
  case("return Gateway.sendToGroup({ 'g1', 'g2' }, 'to nobody'), Gateway.sendToGroup(3, 'to 3'), Gateway.getAllGroupIdList()")
  case("return Gateway.joinGroup(" .. id .. ", { 'g4', 'g5' }, { wait = true, timeout = 30 }), " ..
    "Gateway.getClientIdListByGroup 'g4', Gateway.sendToGroup('g5', 'to g5')", { changes = true })
  case("return Gateway.ungroup 'g4', Gateway.ungroup(3), Gateway.ungroup 'g5', Gateway.getGroupsByClientId(" .. id .. ")", {
    changes = true })
  case("local many = {} for i = 1, 1500 do many[i] = 'many' .. i end return Gateway.joinGroup(" .. id .. ", many)", { changes = true })
  case("return #(Gateway.getGroupsByClientId(" .. id .. ") or {})")
  case("local many = {} for i = 1, 1500 do many[i] = 'many' .. i % 3 end return Gateway.joinGroup(" .. id .. ", many), " ..
    "Gateway.leaveGroup(" .. id .. ", many)", { changes = true })
end
case("return Gateway.ungroup 'two', Gateway.ungroup 'empty'", { changes = true })
case "return Gateway.getAllGroupClientIdCount(), Gateway.sendToGroup('two', 'left')"
case("return Gateway.bindUid(who.never, 'u'), Gateway.joinGroup(who.never, 'g'), Gateway.leaveGroup(who.never, 'g'), " ..
  "Gateway.unbindUid(who.never), Gateway.unbindUid(who.never, 'u')")
case("return Gateway.bindUid(who.never, 'u', { wait = true }), Gateway.joinGroup(who.never, { 'g', 'h' }, { wait = true }), " ..
  "Gateway.joinGroup(who.never, {}, { wait = true })")
case "return Gateway.joinGroup(who.bob, {}), Gateway.leaveGroup(who.bob, {}), Gateway.joinGroup(who.bob, {}, { wait = true })"
for _, call in ipairs { "bindUid(who.nowhere, 'u')", "unbindUid(who.nowhere)", "unbindUid(who.nowhere, 'u')",
  "joinGroup(who.nowhere, 'g')",
  "joinGroup(who.nowhere, { 'g', 'h' })", "leaveGroup(who.nowhere, 'g')" } do
  case("return Gateway." .. call, { cluster = UNKNOWN })
end

-- ends

local three = { "websocket", "text", "frame" }
for i = 1, 3 do
  local id = "who.x" .. i
  case("return Gateway.closeClient(" .. id .. "), Gateway.isOnline(" .. id .. ")", { fresh = three })
  case("return Gateway.closeClient(" .. id .. ", 'bye')", { fresh = three })
  case("return Gateway.closeClient(" .. id .. [[, '\0\xff', { binary = true, code = 4001, reason = 'for a reason' })]], { fresh = three })
  case("return Gateway.closeClient(" .. id .. [[, 'raw\n', true)]], { fresh = three })
  case("return Gateway.closeClient(" .. id .. ", nil, { code = 1013 }), Gateway.closeClient(" .. id .. ", 'again')", { fresh = three })
  case("return Gateway.sendToClient(" .. id .. ", 'before'), Gateway.closeClient(" .. id .. ", 'bye'), Gateway.sendToClient(" ..
    id .. ", 'behind')", { fresh = three })
  case("return Gateway.destroyClient(" .. id .. "), Gateway.isOnline(" .. id .. "), Gateway.getAllClientIdCount()", { fresh = three })
  case("return Gateway.destoryClient(" .. id .. ")", { fresh = three })
end
local leave = "for i = 1, 3 do Gateway.bindUid(who['x' .. i], 'leaver', { wait = true }) " ..
  "Gateway.joinGroup(who['x' .. i], { 'leaving', 'room' .. i }, { wait = true }) end "
case(leave .. "return Gateway.closeUid 'leaver'", { fresh = three, changes = true })
case(leave .. "return Gateway.closeUid('leaver', 'bye', { code = 4002, timeout = 30 })", { fresh = three, changes = true })
case(leave .. "return Gateway.closeUid('leaver', 'bye', 30)", { fresh = three, changes = true })
case(leave .. "return Gateway.closeUid 'nobody', Gateway.closeUid(12, 'bye')", { fresh = three, changes = true })
case(leave .. "return Gateway.closeGroup 'leaving'", { fresh = three, changes = true })
case(leave .. [[return Gateway.closeGroup({ 'room1', 'room3', 'none' }, 'raw\n', { raw = true, reason = 'over' })]], { fresh =
  three, changes = true })
case(leave .. "return Gateway.closeGroup('room2', nil, true), Gateway.closeGroup 'none', Gateway.closeGroup {}", { fresh =
  three, changes = true })
case("for i = 1, 3 do Gateway.bindUid(who['x' .. i], 'one', { wait = true }) end return " ..
  "Gateway.bindUid(who.x2, 'one', { exclusive = true, wait = true })",
  { fresh = three, changes = true })
case("return Gateway.closeClient(who.never), Gateway.closeClient(who.never, 'bye'), Gateway.destroyClient(who.never), " ..
  "Gateway.destoryClient(who.never)")
for _, call in ipairs { "closeClient", "destroyClient", "destoryClient" } do
  case("return Gateway." .. call .. "(who.nowhere)", { cluster = UNKNOWN })
end
for _, call in ipairs { "closeCurrentClient()", "closeCurrentClient('bye')", "closeCurrentClient('bye', { code = 4000, reason = 'so' })",
  "destroyCurrentClient()", "destoryCurrentClient()" } do
  case("Gateway." .. call, { by = true })
end
for _, call in ipairs { "sendToCurrentClient('x')", "closeCurrentClient()", "destroyCurrentClient()", "destoryCurrentClient()" } do
  case("local ok, why Timer.delay(0.001, function() ok, why = pcall(function() Gateway." .. call .. " end) end) while ok == nil " ..
    "do Timer.sleep(0.005) end return ok, why")
end

for _, call in ipairs { "closeCurrentClient({})", "closeCurrentClient(true)", "closeCurrentClient('x', 5)",
  "closeCurrentClient('x', { code = 1 })",
  "closeCurrentClient('x', { wait = true })", "destroyCurrentClient('more')", "destoryCurrentClient('more')" } do
  case("return pcall(function() return Gateway." .. call .. " end)", { by = true })
end

for _, bad in ipairs { "'x'", "true", "0", "-1", "{}", "0/0", "print" } do case("return pcall(Gateway.getMyClients, " .. bad .. ")") end

M.cases = cases

-- Every call with good arguments, for everybody that is not there: each of these is replaced by
-- what is wrong, one after the other.
M.arguments = {
  sendToAll = { "'x'", "{}", "who.never", "{}" },
  sendToClient = { "who.never", "'x'", "{}" },
  sendToCurrentClient = { "'x'", "{}" },
  sendToUid = { "'nobody'", "'x'", "{}" },
  sendToGroup = { "'empty'", "'x'", "who.never", "{}" },
  closeClient = { "who.never", "'x'", "{}" },
  destroyClient = { "who.never" },
  destoryClient = { "who.never" },
  closeUid = { "'nobody'", "'x'", "{}" },
  closeGroup = { "'empty'", "'x'", "{}" },
  bindUid = { "who.never", "'u'", "{}" },
  unbindUid = { "who.never", "'u'", "9" },
  joinGroup = { "who.never", "'g'", "{}" },
  leaveGroup = { "who.never", "'g'" },
  ungroup = { "'empty'" },
  setSession = { "who.never", "{}" },
  updateSession = { "who.never", "{}" },
  getSession = { "who.never", "9" },
  isOnline = { "who.never", "9" },
  isUidOnline = { "'nobody'", "9" },
  isUidsOnline = { "{ 'nobody' }", "9" },
  getClientIdByUid = { "'nobody'", "9" },
  batchGetClientIdByUid = { "{ 'nobody' }", "9" },
  getUidByClientId = { "who.never", "9" },
  getGroupsByClientId = { "who.never", "9" },
  getAllClientIdCount = { "9" },
  getAllClientCount = { "9" },
  getClientIdCountByGroup = { "'empty'", "9" },
  getClientCountByGroup = { "'empty'", "9" },
  batchGetClientIdCountByGroup = { "{ 'empty' }", "9" },
  getAllClientIdList = { "9" },
  getClientIdListByGroup = { "'empty'", "9" },
  getAllClientSessions = { "'empty'", "9" },
  getClientSessionsByGroup = { "'empty'", "9" },
  getUidListByGroup = { "'empty'", "9" },
  getUidCountByGroup = { "'empty'", "9" },
  getAllUidList = { "9" },
  getAllUidCount = { "9" },
  getAllGroupIdList = { "9" },
  getAllGroupUidList = { "9" },
  getAllGroupUidCount = { "9" },
  getAllGroupClientIdList = { "9" },
  getAllGroupClientIdCount = { "9" },
}

-- Those that would close who asks, or answer each worker otherwise, are tried among the cases.
M.wrong_among_cases = {
  closeCurrentClient = true, destroyCurrentClient = true, destoryCurrentClient = true, getMyClients = true,
}

M.wrong = {
  "nil", "true", "0", "-1", "1.5", "''", "'0'", "'x'", "('n'):rep(256)", [['\xff']], "{}", "{ 1 }", "{ '' }", "{ true }", "{ {} }",
  "{ x = 'y' }", "{ binary = 1 }", "{ timeout = 0 }", "{ wait = 1 }", "{ exclusive = true }", "print", "0/0", "2^53", "('a'):rep(19)",
}

--- Every wrong call of the function, as Lua that returns what it has returned or raised.
function M.wrongly(name)
  local good, calls = M.arguments[name], list()
  local function add(arguments) calls:insert(("pcall(Gateway.%s, %s)"):format(name, table.concat(arguments, ", "))) end
  calls:insert(("pcall(Gateway.%s)"):format(name))
  add { "'more'", "'than'", "there", "are", "arguments" }
  for i = 1, #good do
    for _, bad in ipairs(M.wrong) do
      local arguments = table.move(good, 1, #good, 1, {})
      arguments[i] = bad
      add(arguments)
    end
  end
  return calls
end

return M
