-- The numbers in docs/ are those of the source: a default or a limit that changes in
-- one of the two and not in the other fails here. That each is kept is what the tests
-- of its own part show; they take it from the same constant.
local testbed = require "testbed"

local function read_all(pattern)
  local pipe = assert(io.popen("cat " .. pattern))
  local text = pipe:read "a"
  pipe:close()
  return text
end

-- ---- constants ----

local defines = {} -- name -> expression, or false where there are several
for name, text in read_all("src/*/*.[ch]"):gsub("\\\n", " "):gmatch "\n#define%s+([%u%d_]+)%s+([^\n]+)" do
  text = text:gsub("/%*.*", ""):gsub("%(size_t%)", ""):gsub("(%d)[uUlL]+%f[%W]", "%1")
  if defines[name] and defines[name] ~= text then text = false end
  defines[name] = text
end

-- Evaluates text in C's or Lua's words; both write numbers alike.
local env = setmetatable({}, { __index = function(env, name)
  local text = defines[name]
  assert(text ~= nil, "no constant " .. name)
  assert(text, "several constants " .. name)
  return assert(load("return " .. text, name, "t", env))()
end })

-- The local variable, or field of the table of defaults, of a file of lua/gwrun.
function env.lua(file, name)
  local text = testbed.read_file("lua/gwrun/" .. file .. ".lua")
  local value = text:match("\nlocal " .. name .. " = ([^\n]+)") or text:match("\n  " .. name .. " = ([^,\n]+),")
  return load("return " .. assert(value, file .. ": " .. name))()
end

function env.commas(n)
  local text = ("%d"):format(n):reverse():gsub("(%d%d%d)", "%1,"):reverse()
  return (text:gsub("^,", ""))
end

function env.word(n) return ({ "one", "two", "three", "four", "five" })[n] end

-- ---- the defaults of the configuration ----

describe("docs/configuration.md has the default of", function()
  local fields = testbed.read_file "src/config/config_fields.c"
  local page = testbed.read_file "docs/configuration.md"

  -- Keys whose default is no constant beside others, and how it is said there.
  local elsewhere = { ping_not_response_limit = 0, count = 1 }

  local function default_of(group, key)
    local list = fields:match("config_field " .. group .. "_fields%[%] = {(.-)\n};")
    local member = list:match('"' .. key .. '",%s*CONFIG_%u+,%s*([%w_.]+)'):match "[%w_]+$"
    if elsewhere[key] then return elsewhere[key] end
    local part = group == "gateway" and fields:match "gateway_defaults = {(.-)\n};"
      or group == "worker" and fields:match "worker_defaults = {(.-)\n};" or fields:match "config_set_defaults%(.-\n}"
    local name = assert(part:match("[.>]" .. member .. " = ([%u_]+)[,;]"), key)
    return env[name]
  end

  for heading, group in pairs {
    ["## The whole"] = "top", ["## register"] = "register", ["## gateways, each entry"] = "gateway",
    ["## workers"] = "worker",
  } do
    local from = select(2, page:find("\n" .. heading .. "\n", 1, true))
    local text = page:sub(from, (page:find("\n## ", from, true)))
    for key, default in text:gmatch "\n| `([%w_]+)` | ([%d.]+) |" do
      it(key .. " of " .. group, function() assert.equal(default_of(group, key), tonumber(default)) end)
    end
  end
end)

-- ---- sentences ----

-- page, sentence, and what stands in it for each %s. Where lines are broken does not
-- matter.
local sentences = {
  -- two workers of one name, gateways that go and come back
  { "protocol.md", "does not say that, a name changes hands twice within %d s; the third", "INNER_HANDOVER_TIME" },
  { "protocol.md", "a name changes hands %s within", "INNER_HANDOVERS == 3 and 'twice'" },
  { "protocol.md", "a further one after at most %d commands or a second", "INNER_RECEIPT_ORDERS" },
  { "deployment.md", "within %d to %d s before its link ended", "UNHEARD_TICKS - 1", "UNHEARD_TICKS" },
  { "deployment.md", "Of the last %d, and of the last second, some may have been run", "INNER_RECEIPT_ORDERS" },
  { "protocol.md", "machine, was silent for %d s.", "INNER_SILENCE" },
  { "protocol.md", "worker that is cut %s times so, within %d s each and with its other link left alone, waits for %d s",
    "word(GATEWAYS_CUTS_MAX)", "GATEWAYS_SETTLED_MS // 1000", "GATEWAYS_CUT_WAIT_MS // 1000" },
  { "coming-from-gatewayworker.md", "gives way for %d s after it was cut %s times", "GATEWAYS_CUT_WAIT_MS // 1000",
    "word(GATEWAYS_CUTS_MAX)" },
  { "deployment.md", "the workers run `onClose` for each of them after %s s", "GATEWAYS_LOST_GRACE_MS / 1000" },
  { "deployment.md", "as long as the register has the gateway in its list, for %d s at most", "GATEWAYS_LISTED_GRACE_MS // 1000" },
  { "deployment.md", "`gateway_lost_timeout` (%d s) later the workers", "WORKER_GATEWAY_LOST" },
  { "guarantees.md", "is inherited from by another one of the machine after %d s", "BOOKS_ADOPT_MS // 1000" },
  { "deployment.md", "does not come again within %d s has another gateway", "BOOKS_ADOPT_MS // 1000" },
  { "guarantees.md", "remembers the last %d of these events", "BEGUN_MAX" },
  { "guarantees.md", "worker, which is waited for up to %d s", "OUTBOX_FAR_PATIENCE" },
  { "guarantees.md", "that the client had if that is there within %d s, else", "OUTBOX_PATIENCE" },
  { "deployment.md", "a worker's machine | the same after %d to %d s", "REACH_SILENCE // 1000 + INNER_PARTING",
    "(REACH_SILENCE + CONN_WATCH_MS) // 1000 + INNER_PARTING" },
  { "deployment.md", "that, for some %d s at most", "INNER_PARTING" },
  { "deployment.md", "the next process of its name is there, for %d s at most", "INNER_PARTING" },
  { "deployment.md", "no more than `begin_window` events (%d)", "GATEWAY_BEGIN_WINDOW" },
  { "guarantees.md", "of another machine, when it comes again within %d s", "INNER_PARTING" },
  { "protocol.md", "The gateway waits for that for about %d s", "INNER_PARTING" },
  { "protocol.md", "A worker keeps it for the last %d pairs", "REMAINS_MAX" },
  { "deployment.md", "after %s errors for it in a row, or", "word(VM_FULL_ERRORS)" },
  { "coming-from-gatewayworker.md", "Queries** wait for the answer while other clients go on, %d seconds at most",
    "QUERIES_TIMEOUT" },
  { "protocol.md", "A packet is at most %d MiB (`max_packet`)", "FRAME_MAX_LEN >> 20" },

  -- fixed limits
  { "configuration.md", "a uid's or group's name | %d bytes of UTF-8", "GATEWAY_NAME_MAX" },
  { "configuration.md", "client ids, uids or groups in one call | %d |", "LARGS_LIST_MAX" },
  { "configuration.md", "From %d MiB to 1 GiB", "PACKET_MIN >> 20" },
  { "configuration.md", "questions to one gateway that wait for their answers | %d |", "ASKS_PENDING_MAX" },
  { "configuration.md", "while there is no worker, or none with room | %d MiB", "ROUTER_HELD_MAX >> 20" },
  { "configuration.md", "levels of `a[b][c]` | %d, %d |", "PARAMS_VARS_MAX", "PARAMS_DEPTH_MAX" },
  { "configuration.md", "entries of X-Forwarded-For that are read | %d, from the right", "FORWARDED_MAX" },
  { "configuration.md", "the reason that `onHandshake` returns | %d bytes", "ADMISSIONS_REASON_MAX" },
  { "configuration.md", "that `onHandshake` returns in a table | %d lines and %d KiB, %d KiB", "ANSWER_HEADERS_MAX",
    "ANSWER_HEADERS_LEN_MAX >> 10", "ANSWER_BODY_MAX >> 10" },
  { "configuration.md", "headers that `onRequest` returns | %d lines and %d KiB", "ANSWER_HEADERS_MAX",
    "ANSWER_HEADERS_LEN_MAX >> 10" },
  { "configuration.md", "requests that a worker answers at a time | %d |", "REQUESTS_MAX" },
  { "configuration.md", "if the next has more than %d | a %dth of `memory_limit`", "REQUESTS_SMALL", "REQUESTS_SHARE" },
  { "configuration.md", "An answer to a request of more than %d KiB counts whole", "LONG_ANSWER >> 10" },
  { "configuration.md", "keys of the push API in a file, calls in a batch | %d, %d |", "APIKEYS_MAX", "lua('api', 'BATCH_MAX')" },
  { "configuration.md", "to the push API, of an address in a minute | %d |", "APIGATE_GUESSES" },
  { "streams.md", "Both are UTF-8 of at most %d bytes", "LABEL_TEXT_MAX" },
  { "streams.md", "Every %d s a comment goes out", "CLIENT_CONN_COMMENT_MS // 1000" },
  { "http-api.md", "more than %d requests without a right key", "APIGATE_GUESSES" },
  { "http-api.md", "**`batch`** runs up to %d calls", "lua('api', 'BATCH_MAX')" },
  { "http-api.md", "A key has %d characters or more", "APIKEYS_KEY_MIN" },
  { "requests.md", "an extension of at most %d bytes; more than %d KiB of trailers", "HTTPBODY_EXTENSION_MAX",
    "HTTPBODY_TRAILER_MAX >> 10" },
  { "configuration.md", "workers of a gateway, connections to its inner port | %d, %d |", "ROUTER_WORKERS_MAX", "INNER_LINKS_MAX" },
  { "configuration.md", "that have not said who they are | %d, and %d s where there is a key", "INNER_STRANGERS_MAX",
    "INNER_AUTH_TIMEOUT" },
  { "configuration.md", "that have not said who they are | %d,", "REGISTER_MAX_STRANGERS" },
  { "configuration.md", "gateways and workers of a register | %d |", "REGISTER_MAX_CONNECTIONS" },
  { "configuration.md", "runs longer than %d Lua instructions", "STEPS_MAX" },
  { "configuration.md", "(at most %d MiB); a larger one is refused where it is set", "SESSION_MAX // 1 >> 20" },
  { "configuration.md", "groups that one client may be in, up to %d.", "ROSTER_GROUPS_LIMIT" },
  { "configuration.md", "up to %d. Memory is taken as it is needed", "SHARED_KEYS_MAX" },
  { "configuration.md", "bytes of sessions (each counts %d more)", "KNOWN_COST" },
  { "configuration.md", "never more than a sixteenth of what is left%s", "SHARE_PART == 16 and '' or SHARE_PART" },
  { "configuration.md", "idle_timeout` | %d where websocket PINGs leave", "GATEWAY_IDLE_TIMEOUT" },
  { "configuration.md", "When %s handlers in a row have failed for it", "word(VM_FULL_ERRORS)" },
  { "coming-from-gatewayworker.md", "arrays more than %d deep stay in the session as they are", "PHPSER_DEPTH_MAX" },
  { "coming-from-gatewayworker.md", "at most %d bytes long, not empty and not 0", "LARGS_NAME_MAX" },

  -- what scripts call
  { "timers.md", "At most %s of them live at a time in a worker", "commas(LSPAWN_MAX)" },
  { "scripts.md", "A script may have %s of them in each worker", "commas(LTIMER_MAX)" },
  { "timers.md", "%s by default) of up to %d bytes with values of up to %d", "commas(SHARED_KEYS)", "SHARED_KEY_MAX", "SHARED_VALUE_MAX" },
  { "timers.md", "says so once a minute%s", "FULL_MS == 60000 and '' or FULL_MS" },
  { "timers.md", "up to three hours of a job at chosen hours, up to a minute%s",
    "lua('cron', 'set_back_max, set_back_max_hourly') == 3 * 60 * 60 and '' or '?'" },
  { "redis.md", "`timeout` | %d | seconds that a call takes at most", "lua('redis_options', 'timeout')" },
  { "redis.md", "`connect_timeout` | %d | seconds", "lua('redis_options', 'connect_timeout')" },
  { "redis.md", "`pool_size` | %d | connections for what blocks", "lua('redis_options', 'pool_size')" },
  { "redis.md", "one of up to %d sentinels", "SENTINEL_MAX" },
  { "redis.md", "each for %d second at", "SENTINEL_TRY_MS / 1000" },
  { "redis.md", "`enobufs` when %s calls wait", "commas(REDIS_CALLS_MAX)" },
  { "redis.md", "the function runs again (%s times; then", "lua('redis', 'attempts') == 10 and 'ten'" },
  { "redis.md", "made again, after %s to 5 seconds", "lua('redis_subscription', 'retry_min, retry_max')" },
  { "redis.md", "that up to %d nodes belong to", "SENTINEL_MAX" },
  { "redis.md", "is tried again for %d seconds, within", "lua('redis_cluster', 'patience')" },
  { "redis.md", "%d MiB or a million values in a reply; %d MiB waiting to be sent; %s commands in a pipeline",
    "REDISVALUE_BYTES_MAX >> 20", "REDIS_QUEUE_MAX >> 20", "commas(LREDIS_BATCH_MAX)" },
  { "http.md", "`timeout` | %d | seconds for all of it", "lua('http', 'timeout')" },
  { "http.md", "`connect_timeout` | %d | seconds", "lua('http', 'connect_timeout')" },
  { "http.md", "`max_size` | %d MiB |", "lua('http', 'max_size') >> 20" },
  { "http.md", "`max_redirects` | %d |", "lua('http', 'max_redirects')" },
  { "http.md", "or %d KiB of headers", "HTTP_HEADERS_MAX >> 10" },
  { "http.md", "%d requests are under way", "HTTP_CALLS_MAX" },
  { "http.md", "at most %d to one host and %d in all", "HTTP_PER_HOST_MAX", "HTTP_CONNECTIONS_MAX" },
  { "mysql.md", "`timeout` | %d | for each call", "lua('mysql', 'DEFAULT_TIMEOUT')" },
  { "mysql.md", "`connect_timeout` | %d |", "MYSQLDB_CONNECT_MS // 1000" },
  { "mysql.md", "`pool_size` | %d | connections at most, in each worker", "POOL_SIZE" },
  { "mysql.md", "`queue` | %d | calls that may wait for one", "POOL_QUEUE_MAX" },
  { "mysql.md", "`idle` | %d |", "POOL_IDLE_MS // 1000" },
  { "mysql.md", "`ping` | %d |", "MYSQLDB_PING_MS // 1000" },
  { "mysql.md", "`max_result` | %d |", "MYSQLCONN_RESULT_MAX" },
  { "mysql.md", "At most %d, together not larger than `max_result`", "MYSQLCONN_SETS_MAX" },
  { "crypto.md", "lets %d wait; one more is `nil, message, \"enobufs\"`, a password of more than %d bytes",
    "LSCRYPT_WAITING_MAX", "LSCRYPT_PASSWORD_MAX" },
  { "crypto.md", "RS512 (%d bits and more)", "LCRYPTO_RSA_BITS_MIN" },
  { "exec.md", "tables %s deep and %d entries each", "word(lua('console', 'DEPTH'))", "lua('console', 'ENTRIES')" },
  { "exec.md", "%d MiB of output is the end", "LCONSOLE_OUTPUT_MAX >> 20" },
  { "handshakes.md", "stands in its first line; %d bytes at most, the rest is cut", "ADMISSIONS_REASON_MAX" },
  { "handshakes.md", "`status` | %d to %d |", "ANSWER_STATUS_MIN", "ANSWER_STATUS_MAX" },

  -- clients' sockets
  { "clients.md", "the kernel looks for who is silent for %d s, and gives up after %d s more", "KEEP_IDLE",
    "KEEP_TIMEOUT // 1000 - KEEP_IDLE" },
  { "deployment.md", "(64 MiB more than `worker_high_water` for each of them)%s", "ROUTER_HELD_MAX == 64 << 20 and '' or '?'" },
}

describe("a sentence of", function()
  local pages = {}

  local function page(name)
    pages[name] = pages[name] or testbed.read_file("docs/" .. name):gsub("%s+", " ")
    return pages[name]
  end

  for i, entry in ipairs(sentences) do
    local name, text = entry[1], entry[2]
    it(("%s has the number of the source: %s (%d)"):format(name, text, i), function()
      local values = {}
      for k = 3, #entry do
        local value = assert(load("return " .. entry[k], entry[k], "t", env))()
        values[#values + 1] = math.tointeger(value) or value
      end
      local sentence = text:format(table.unpack(values))
      assert.is_truthy(page(name):find(sentence, 1, true), "not there: " .. sentence)
    end)
  end
end)
