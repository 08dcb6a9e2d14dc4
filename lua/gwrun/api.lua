-- The push API: Gateway's functions for programs in any language. The gateway has
-- looked at the key; what its owner may call is judged here, for a batch too.
--
-- Loaded by lualib/linit.c, at the first call, with Gateway and what gwrun's
-- modules share.
-- Returns answer(path, body, rights), all of them texts, which returns a status and
-- what is answered, in JSON: from 400 on a problem.
-- docs/openapi.json is made of the annotations and of these tables (make docs).
local Gateway, common = ...
local crypto, json = common.crypto, common.json

local BATCH_MAX = 1000
local DONE = '{"result":true}' -- of all that sends

-- Who has no list of calls may make those of these kinds.
local granted = { send = true, join = true, query = true }

-- What is flattened where a call has options.
local options = {
  send_options = { "raw", "binary", "event", "id" },
  close_options = { "raw", "binary", "event", "id", "code", "reason" },
  join_options = { "wait", "timeout" },
  bind_options = { "wait", "timeout", "exclusive" },
  close_many_options = { "raw", "binary", "event", "id", "code", "reason", "timeout" },
}

-- Each call: its kind, its parameters ("?": may be missing), and what its result is
-- in JSON even when it is empty, or its keys are numbers.
local calls = {
  sendToAll = { "send", "message client_ids? exclude? send_options" },
  sendToClient = { "send", "client_id message send_options" },
  sendToUid = { "send", "uid message send_options" },
  sendToGroup = { "send", "group message exclude? send_options" },

  bindUid = { "join", "client_id uid bind_options" },
  unbindUid = { "join", "client_id uid? timeout?" },
  joinGroup = { "join", "client_id group join_options" },
  leaveGroup = { "join", "client_id group" },
  ungroup = { "join", "group" },

  isOnline = { "query", "client_id timeout?" },
  isUidOnline = { "query", "uid timeout?" },
  isUidsOnline = { "query", "uids timeout?", "object" },
  getClientIdByUid = { "query", "uid timeout?", "array" },
  batchGetClientIdByUid = { "query", "uids timeout?", "object of arrays" },
  getUidByClientId = { "query", "client_id timeout?" },
  getGroupsByClientId = { "query", "client_id timeout?", "array" },
  getAllClientIdCount = { "query", "timeout?" },
  getAllClientCount = { "query", "timeout?" },
  getClientIdCountByGroup = { "query", "group? timeout?" },
  getClientCountByGroup = { "query", "group? timeout?" },
  batchGetClientIdCountByGroup = { "query", "groups timeout?", "object" },
  getAllClientIdList = { "query", "timeout?", "object" },
  getClientIdListByGroup = { "query", "group timeout?", "object" },
  getUidListByGroup = { "query", "group timeout?", "object" },
  getUidCountByGroup = { "query", "group timeout?" },
  getAllUidList = { "query", "timeout?", "object" },
  getAllUidCount = { "query", "timeout?" },
  getAllGroupIdList = { "query", "timeout?", "object" },
  getAllGroupUidList = { "query", "timeout?", "object" },
  getAllGroupUidCount = { "query", "timeout?", "object" },
  getAllGroupClientIdList = { "query", "timeout?", "object" },
  getAllGroupClientIdCount = { "query", "timeout?", "object" },

  closeClient = { "close", "client_id message? close_options" },
  destroyClient = { "close", "client_id" },
  closeUid = { "close", "uid message? close_many_options" },
  closeGroup = { "close", "group message? close_many_options" },

  getSession = { "session", "client_id timeout?" },
  setSession = { "session", "client_id session" },
  updateSession = { "session", "client_id session" },
  getAllClientSessions = { "session", "group? timeout?", "object" },
  getClientSessionsByGroup = { "session", "group timeout?", "object" },
}

for _, call in pairs(calls) do
  call.params, call.known = {}, {}
  for word in call[2]:gmatch "%S+" do
    local name = word:match "^[%w_]+"
    local flat = options[name]
    local optional = flat or word:sub(-1) == "?"
    call.params[#call.params + 1] = { name = name, flat = flat, optional = optional }
    for _, key in ipairs(flat or { name }) do call.known[key] = true end
    if name == "message" then call.known.message_base64 = true end
  end
end

-- ---- problems (RFC 9457) ----

local titles = {
  [400] = "Bad Request", [403] = "Forbidden", [404] = "Not Found", [413] = "Content Too Large",
  [422] = "Unprocessable Content", [503] = "Service Unavailable", [504] = "Gateway Timeout",
}

-- What Gateway's functions fail with. All else is nobody's fault who called.
local statuses = { emsgsize = 413, e2big = 422, enotsup = 422, etimedout = 504 }

local function problem(status, code, text, ...)
  return {
    type = "about:blank",
    title = titles[status],
    status = status,
    code = code,
    detail = select("#", ...) > 0 and text:format(...) or text,
  }
end

-- ---- parameters ----

-- null is the same as nothing.
local function get(params, name)
  local value = params[name]
  if value ~= json.null then return value end
end

local function read_message(params)
  local text = get(params, "message_base64")
  if text == nil then return get(params, "message") end
  if get(params, "message") ~= nil then
    return nil, problem(400, "einval", "give one of message and message_base64, not both")
  end
  local message = type(text) == "string" and crypto.base64Decode(text)
  if not message then return nil, problem(400, "einval", "message_base64 is not base64") end
  return message
end

local function read_options(params, keys)
  local table
  for _, key in ipairs(keys) do
    local value = get(params, key)
    if value ~= nil then
      table = table or {}
      table[key] = value
    end
  end
  return table
end

-- What may be one; why a message may not, its call says.
local objects = { session = true, message = true }

-- An object with something in it.
local function is_named(value)
  return type(value) == "table" and value[1] == nil and next(value) ~= nil
end

-- The arguments of the call: a list and its length, or nil and a problem.
local function read_params(name, call, params)
  for key, value in pairs(params) do
    if not call.known[key] then
      return nil, problem(400, "einval", "%s has no parameter %s", name, json.encode(tostring(key)))
    end
    if is_named(value) and not objects[key] then
      return nil, problem(400, "einval", "%s: an object; several go into an array", key)
    end
  end
  local args, n = {}, #call.params
  for i, param in ipairs(call.params) do
    local value, wrong
    if param.flat then
      value = read_options(params, param.flat)
    elseif param.name == "message" then
      value, wrong = read_message(params)
    else
      value = get(params, param.name)
    end
    if wrong then return nil, wrong end
    if value == nil and not param.optional then
      return nil, problem(400, "einval", "%s is missing", param.name)
    end
    args[i] = value
  end
  return args, n
end

-- ---- results ----

-- As JSON has it: what is empty is not known by itself to be an array, and uids that
-- are numbers are keys like others.
local function shape(value, kind)
  if value == nil then return json.null end
  if type(value) ~= "table" or not kind then return value end
  if kind == "array" then return json.array(value) end
  local object = {}
  for key, inner in pairs(value) do
    object[tostring(key)] = kind == "object of arrays" and json.array(inner) or inner
  end
  return object
end

-- Of an argument that is wrong: which one, in the words of whoever called.
local function explain(call, message)
  local at, what = message:match "bad argument #(%d+) to '[^']*' (.*)$"
  if at then
    local param = call.params[tonumber(at)]
    what = what:match "^%((.*)%)$" or what
    return param and not param.flat and ("%s: %s"):format(param.name, what) or what
  end
  return message:match "bad timeout %((.*)%)$"
end

local function finish(call, ok, result, message, code, partial)
  if not ok then
    local what = type(result) == "string" and explain(call, result)
    if not what then error(result, 0) end
    return problem(400, "einval", what)
  end
  if result ~= nil or message == nil then return nil, { result = shape(result, call[3]) } end
  if partial ~= nil then
    return nil, { result = shape(partial, call[3]), partial = true, missing = message }
  end
  return problem(statuses[code] or 503, code or "eio", message)
end

-- ---- calls ----

local function is_object(value) return type(value) == "table" and value[1] == nil end

-- A problem, or nil and what is answered.
local function run(name, given, caller)
  local call = type(name) == "string" and calls[name]
  if not call then
    return problem(404, "enoent", "there is no call %s", json.encode(tostring(name)))
  end
  local may = granted[call[1]]
  if caller.calls then may = caller.calls[name] end
  if not may then return problem(403, "eacces", "the key %s may not call %s", caller.name, name) end
  if not is_object(given) then return problem(400, "einval", "the parameters are no object") end
  local args, n = read_params(name, call, given)
  if not args then return n end
  return finish(call, pcall(Gateway[name], table.unpack(args, 1, n)))
end

-- One call of a batch.
local function run_one(one, caller)
  if not is_object(one) then return problem(400, "einval", "a call is an object") end
  for key in pairs(one) do
    if key ~= "call" and key ~= "params" then
      return problem(400, "einval", "a call has call and params, and no %s", json.encode(key))
    end
  end
  local params = one.params
  if params == nil or params == json.null then params = {} end
  return run(one.call, params, caller)
end

-- In their order, one after the other; a problem ends none but its own call.
local function run_batch(given, caller)
  local list = is_object(given) and given.calls
  if type(list) ~= "table" or is_named(list) or next(given, next(given)) ~= nil then
    return problem(400, "einval", 'give { "calls": [{ "call": "…", "params": { } }] }')
  end
  if #list > BATCH_MAX then
    return problem(400, "e2big", "a batch has at most %d calls", BATCH_MAX)
  end
  local results = json.array {}
  for i, one in ipairs(list) do
    local wrong, answer = run_one(one, caller)
    results[i] = answer or { problem = wrong }
  end
  return nil, { result = results }
end

-- By their texts; there are as many as keys, and not those of a file that was read
-- again for ever.
local callers, ncallers = {}, 0
local CALLERS_MAX = 1000

-- "name", or "name call,call"
local function read_rights(text)
  if callers[text] then return callers[text] end
  if ncallers == CALLERS_MAX then
    callers, ncallers = {}, 0
  end
  local name, list = text:match "^(%S+) ?(.*)$"
  local caller = { name = name }
  for call in list:gmatch "[^,]+" do
    caller.calls = caller.calls or {}
    caller.calls[call] = true
  end
  callers[text], ncallers = caller, ncallers + 1
  return caller
end

return function(path, body, rights)
  local name = path:match "[^/]*$"
  local given, message = json.decode(body)
  local wrong, answer
  if message then
    wrong = problem(400, "einval", "the body is not valid, " .. message)
  elseif name == "batch" then
    wrong, answer = run_batch(given, read_rights(rights))
  else
    wrong, answer = run(name, given, read_rights(rights))
  end
  if wrong then return wrong.status, json.encode(wrong) end
  if answer.result == true then return 200, DONE end
  return 200, json.encode(answer)
end
