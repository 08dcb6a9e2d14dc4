-- Gateway's queries, under GatewayWorker's names. Each waits for the gateways'
-- answers while other clients' events go on; the last argument is how many
-- seconds at most (5). They return what was asked for; nil, message, code when
-- it cannot be had; nil, message, code, partial when some gateways did not
-- answer. Uids and groups in results are strings.
--
-- Loaded by lualib/linit.c with the table of commands and the core (lquery.c).
local Gateway, core = ...
local error = require("gwrun.raise").error

-- Check an argument with one of the core's functions, in our caller's name.
local function check(checker, value, arg, name)
  local ok, result = pcall(checker, value)
  if ok then return result end
  error(("bad argument #%d to '%s' %s"):format(arg, name, result:match "%(.*" or result), 3)
end

local function client_id(prefix, connection_id) return prefix .. ("%08x"):format(connection_id) end

local function check_timeout(timeout)
  if timeout ~= nil and (type(timeout) ~= "number" or not (timeout > 0 and timeout <= 86400)) then
    error "bad timeout (timeout in seconds expected, above 0 and at most a day)"
  end
end

-- Put one command to all gateways and hand every answer of the right type to
-- add(value, prefix). Returns result, which add fills. With about (and names) the
-- command concerns only gateways that have uids ("u") or groups ("g") of these
-- names; only_whether: that there is one elsewhere counts as an answer with one id.
local function gather(result, kind, add, cmd, ext, timeout, about, names, only_whether)
  check_timeout(timeout)
  local mine = about == "mine" or nil
  local answers, message, code =
    core.ask(cmd, ext, nil, timeout, mine, not mine and about or nil, names, only_whether)
  for _, answer in ipairs(answers) do
    if type(answer.value) == kind then
      add(answer.value, answer.prefix)
    elseif answer.value == false then
      message, code = "a gateway would have to answer with more than max_packet", "emsgsize"
    else
      message, code = "a gateway's answer has the wrong type", "eproto"
    end
  end
  if message then return nil, message, code, result end
  return result
end

-- Turn the result of a query with f, the partial one too.
local function map_result(f, result, message, code, partial)
  if message then return nil, message, code, f(partial) end
  return f(result)
end

local function count_keys(t)
  local n = 0
  for _ in pairs(t) do n = n + 1 end
  return n
end

local function count_each(t)
  for key, inner in pairs(t) do t[key] = count_keys(inner) end
  return t
end

-- The sum of the gateways' counts.
local function sum(cmd, ext, timeout, about, names)
  local total = 0
  local function add(count) total = total + count end
  return map_result(function() return total end,
    gather(total, "number", add, cmd, ext, timeout, about, names))
end

-- Ask the gateway of one client: true, value | nil, message, code.
local function ask_owner(cmd, id, ext, timeout)
  check_timeout(timeout)
  local answers, message, code = core.ask(cmd, ext, id, timeout)
  if message then return nil, message, code end
  return true, answers[1].value
end

-- Select fields of all clients, or of those in groups; see(row, id) for each.
local function select_rows(result, see, fields, groups, timeout)
  local function add(rows, prefix)
    for connection_id, row in pairs(rows) do see(row, client_id(prefix, connection_id)) end
  end
  return gather(result, "table", add, core.SELECT, core.select(fields, groups), timeout,
    groups and "g", groups)
end

-- Select fields of one client: row | nil when it is offline | nil, message, code.
local function select_one(fields, id, timeout)
  local ok, rows, code = ask_owner(core.SELECT, id, core.select(fields, nil, id), timeout)
  if not ok then return nil, rows, code end
  return (select(2, next(rows or {})))
end

-- What is not bound or not joined comes as cjson.null.
local function uid_of(row)
  local uid = row.uid
  return (type(uid) == "string" or type(uid) == "number") and tostring(uid) or nil
end

local function groups_of(row) return type(row.groups) == "table" and row.groups or {} end

-- one client

function Gateway.getSession(id, timeout)
  check(core.client, id, 1, "getSession")
  local ok, session, code = ask_owner(core.GET_SESSION_BY_CLIENT_ID, id, nil, timeout)
  if not ok then return nil, session, code end
  return session
end

function Gateway.isOnline(id, timeout)
  check(core.client, id, 1, "isOnline")
  local ok, online, code = ask_owner(core.IS_ONLINE, id, nil, timeout)
  if not ok then return nil, online, code end
  return online == 1
end

function Gateway.getUidByClientId(id, timeout)
  check(core.client, id, 1, "getUidByClientId")
  local row, message, code = select_one("u", id, timeout)
  if not row then return nil, message, code end
  return uid_of(row)
end

function Gateway.getGroupsByClientId(id, timeout)
  check(core.client, id, 1, "getGroupsByClientId")
  local row, message, code = select_one("g", id, timeout)
  if not row then return nil, message, code end
  local list = {}
  for _, group in pairs(groups_of(row)) do list[#list + 1] = tostring(group) end
  table.sort(list)
  return list
end

local unbind = Gateway.unbindUid

-- The protocol's command unbinds whatever is bound, so look first.
function Gateway.unbindUid(id, uid, timeout)
  check(core.client, id, 1, "unbindUid")
  if uid == nil then return unbind(id) end
  local name = check(core.name, uid, 2, "unbindUid")
  local bound, message, code = Gateway.getUidByClientId(id, timeout)
  if message then return nil, message, code end
  if bound ~= name then return false end
  return unbind(id)
end

-- uids

local function find_uid(name, timeout, only_whether)
  local ids = {}
  local function add(list, prefix)
    for _, connection_id in ipairs(list) do ids[#ids + 1] = client_id(prefix, connection_id) end
  end
  return gather(ids, "table", add, core.GET_CLIENT_ID_BY_UID, name, timeout,
    "u", name, only_whether)
end

function Gateway.getClientIdByUid(uid, timeout)
  return find_uid(check(core.name, uid, 1, "getClientIdByUid"), timeout)
end

function Gateway.isUidOnline(uid, timeout)
  local name = check(core.name, uid, 1, "isUidOnline")
  local ids, message, code, partial = find_uid(name, timeout, true)
  if next(ids or partial) then return true end
  if message then return nil, message, code, false end
  return false
end

-- What closeUid and closeGroup are given behind the names, checked: how to close
-- each client, and how long to ask who they are. A number is the timeout alone.
local function close_options(message, options, name)
  check(core.message, message, 2, name)
  if options == nil or type(options) == "number" then return nil, options end
  check(core.close_options, options, 3, name)
  if type(options) ~= "table" then return options end
  local each = {} -- the table may be another call's by the time that the answers are there
  for key, value in pairs(options) do each[key] = value end
  each.timeout = nil
  return each, options.timeout
end

local close_client = Gateway.closeClient

-- Send the last message (if there is one) to clients and close them: how many. A
-- gateway that does not answer saves nobody else's.
local function close_all(message, each, ids, err, code, partial)
  local closed = 0
  for _, id in pairs(ids or partial) do
    local ok, why, what = close_client(id, message, each)
    if ok then closed = closed + 1 end
    err, code = err or why, code or what
  end
  if err then return nil, err, code, closed end
  return closed
end

function Gateway.closeUid(uid, message, options)
  local name = check(core.name, uid, 1, "closeUid")
  local each, timeout = close_options(message, options, "closeUid")
  return close_all(message, each, find_uid(name, timeout))
end

-- Ask about many names at once, the keys of result: add(answer for the name,
-- prefix, name).
local function batch(result, add, cmd, json, timeout, about, names)
  return gather(result, "table", function(value, prefix)
    local by_text = {}
    for key, answer in pairs(value) do by_text[tostring(key)] = answer end
    for name in pairs(result) do
      local answer = by_text[core.name(name)]
      if answer ~= nil then add(answer, prefix, name) end
    end
  end, cmd, json, timeout, about, names)
end

local function find_uids(uids, json, timeout)
  local result = {}
  for _, uid in pairs(type(uids) == "table" and uids or { uids }) do result[uid] = {} end
  return batch(result, function(list, prefix, uid)
    local ids = result[uid]
    for _, connection_id in ipairs(list) do ids[#ids + 1] = client_id(prefix, connection_id) end
  end, core.BATCH_GET_CLIENT_ID_BY_UID, json, timeout, "u", uids)
end

function Gateway.batchGetClientIdByUid(uids, timeout)
  return find_uids(uids, check(core.names, uids, 1, "batchGetClientIdByUid"), timeout)
end

function Gateway.isUidsOnline(uids, timeout)
  local json = check(core.names, uids, 1, "isUidsOnline")
  return map_result(function(map)
    for uid, ids in pairs(map) do map[uid] = next(ids) ~= nil end
    return map
  end, find_uids(uids, json, timeout))
end

local function list_uids(groups, timeout)
  local uids = {}
  return select_rows(uids, function(row)
    local uid = uid_of(row)
    if uid then uids[uid] = uid end
  end, "u", groups, timeout)
end

function Gateway.getAllUidList(timeout) return list_uids(nil, timeout) end

function Gateway.getAllUidCount(timeout) return map_result(count_keys, list_uids(nil, timeout)) end

function Gateway.getUidListByGroup(group, timeout)
  check(core.names, group, 1, "getUidListByGroup")
  return list_uids(group, timeout)
end

function Gateway.getUidCountByGroup(group, timeout)
  check(core.names, group, 1, "getUidCountByGroup")
  return map_result(count_keys, list_uids(group, timeout))
end

-- all clients, and those of a group

local function list_clients(groups, timeout)
  local ids = {}
  -- a field must be asked for; GatewayWorker takes the uid
  return select_rows(ids, function(_, id) ids[id] = id end, "u", groups, timeout)
end

function Gateway.getAllClientIdList(timeout) return list_clients(nil, timeout) end

function Gateway.getClientIdListByGroup(group, timeout)
  check(core.names, group, 1, "getClientIdListByGroup")
  return list_clients(group, timeout)
end

-- A list, and no map: whose clients they are is what is asked for.
function Gateway.getMyClients(timeout)
  local ids = {}
  local function add(rows, prefix)
    for connection_id in pairs(rows) do ids[#ids + 1] = client_id(prefix, connection_id) end
  end
  return gather(ids, "table", add, core.SELECT, core.select("", nil, nil, true), timeout, "mine")
end

function Gateway.closeGroup(group, message, options)
  check(core.names, group, 1, "closeGroup")
  local each, timeout = close_options(message, options, "closeGroup")
  return close_all(message, each, list_clients(group, timeout))
end

function Gateway.getAllClientIdCount(timeout)
  return sum(core.GET_CLIENT_COUNT_BY_GROUP, "", timeout)
end

function Gateway.getClientIdCountByGroup(group, timeout)
  if group == nil or group == "" then return Gateway.getAllClientIdCount(timeout) end
  local name = check(core.name, group, 1, "getClientIdCountByGroup")
  return sum(core.GET_CLIENT_COUNT_BY_GROUP, name, timeout, "g", name)
end

Gateway.getAllClientCount = Gateway.getAllClientIdCount
Gateway.getClientCountByGroup = Gateway.getClientIdCountByGroup

function Gateway.batchGetClientIdCountByGroup(groups, timeout)
  local json = check(core.names, groups, 1, "batchGetClientIdCountByGroup")
  local result = {}
  for _, group in pairs(type(groups) == "table" and groups or { groups }) do result[group] = 0 end
  return batch(result, function(count, _, group)
    result[group] = result[group] + count
  end, core.BATCH_GET_CLIENT_COUNT_BY_GROUP, json, timeout, "g", groups)
end

local function list_sessions(cmd, ext, timeout, group)
  local sessions = {}
  local function add(map, prefix)
    for connection_id, text in pairs(map) do
      sessions[client_id(prefix, connection_id)] = core.unserialize(text) or {}
    end
  end
  return gather(sessions, "table", add, cmd, ext, timeout, group and "g", group)
end

function Gateway.getAllClientSessions(group, timeout)
  if group == nil or group == "" then
    return list_sessions(core.GET_ALL_CLIENT_SESSIONS, "", timeout)
  end
  local name = check(core.name, group, 1, "getAllClientSessions")
  return list_sessions(core.GET_CLIENT_SESSIONS_BY_GROUP, name, timeout, name)
end

function Gateway.getClientSessionsByGroup(group, timeout)
  local name = check(core.name, group, 1, "getClientSessionsByGroup")
  return list_sessions(core.GET_CLIENT_SESSIONS_BY_GROUP, name, timeout, name)
end

-- all groups

function Gateway.getAllGroupIdList(timeout)
  local groups = {}
  local function add(list)
    for _, group in ipairs(list) do groups[tostring(group)] = tostring(group) end
  end
  return gather(groups, "table", add, core.GET_GROUP_ID_LIST, "", timeout)
end

-- group → map of what value_of(row, id) gives for its members
local function list_groups(fields, value_of, timeout)
  local result = {}
  return select_rows(result, function(row, id)
    local value = value_of(row, id)
    for _, group in pairs(groups_of(row)) do
      local name = tostring(group)
      result[name] = result[name] or {}
      if value then result[name][value] = value end
    end
  end, fields, nil, timeout)
end

local function id_of(_, id) return id end

function Gateway.getAllGroupUidList(timeout) return list_groups("ug", uid_of, timeout) end

function Gateway.getAllGroupUidCount(timeout)
  return map_result(count_each, list_groups("ug", uid_of, timeout))
end

function Gateway.getAllGroupClientIdList(timeout) return list_groups("g", id_of, timeout) end

function Gateway.getAllGroupClientIdCount(timeout)
  return map_result(count_each, list_groups("g", id_of, timeout))
end
