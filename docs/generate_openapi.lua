-- docs/generate_openapi.lua META API: print docs/openapi.json, the description of the
-- push API for programs that make clients of it. `make docs` writes it.
--
-- What there is to call, by which keys, stands in lua/gwrun/api.lua; types and words are
-- those of the annotations that editors read (lua/meta/gwrun.lua). Where the two do not
-- agree this ends with an error.

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "a"
  file:close()
  return text
end

local meta, api = read(arg[1]), read(arg[2])

-- ---- JSON, its keys in the order of writing ----

local function object(...)
  local list, pairs_of = { object = true }, { ... }
  for i = 1, #pairs_of, 2 do list[#list + 1] = { pairs_of[i], pairs_of[i + 1] } end
  return list
end

local function set(list, key, value) list[#list + 1] = { key, value } end

local function quote(text)
  return '"' .. text:gsub('[%c"\\]', function(c)
    return ({ ["\n"] = "\\n", ['"'] = '\\"', ["\\"] = "\\\\" })[c] or ("\\u%04x"):format(c:byte())
  end) .. '"'
end

local function write(value, indent)
  if type(value) == "string" then return quote(value) end
  if type(value) ~= "table" then return tostring(value) end
  if #value == 0 then return value.object and "{}" or "[]" end
  local parts, inner = {}, indent .. "  "
  for i, item in ipairs(value) do
    parts[i] = value.object and quote(item[1]) .. ": " .. write(item[2], inner)
      or write(item, inner)
  end
  local open, close = "[", "]"
  if value.object then open, close = "{", "}" end
  local line = open .. " " .. table.concat(parts, ", ") .. " " .. close
  if #line + #indent <= 90 and not line:find "\n" then return line end
  return open .. "\n" .. inner .. table.concat(parts, ",\n" .. inner) .. "\n" .. indent .. close
end

-- ---- types ----

local function ref(name) return object("$ref", "#/components/schemas/" .. name) end

local schema -- of a type, as annotations write it

-- Split at a sign that is in no brackets.
local function split(text, sign)
  local parts, depth, from = {}, 0, 1
  for at = 1, #text do
    local c = text:sub(at, at)
    if c:match "[%(<{%[]" then depth = depth + 1 end
    if c:match "[%)>}%]]" then depth = depth - 1 end
    if c == sign and depth == 0 then
      parts[#parts + 1] = text:sub(from, at - 1)
      from = at + 1
    end
  end
  parts[#parts + 1] = text:sub(from)
  return parts
end

local plain = {
  string = function() return object("type", "string") end,
  integer = function() return object("type", "integer") end,
  number = function() return object("type", "number") end,
  boolean = function() return object("type", "boolean") end,
  ["true"] = function() return object("const", true) end,
}

for name in pairs { client_id = 1, uid = 1, group = 1, message = 1, session = 1 } do
  plain[name] = function() return ref(name) end
end

function schema(text)
  text = text:match "^%s*(.-)%s*$"
  local parts = split(text, "|")
  if #parts > 1 then
    local any = {}
    for i, part in ipairs(parts) do any[i] = schema(part) end
    return object("anyOf", any)
  end
  if plain[text] then return plain[text]() end
  local item = text:match "^(.*)%[%]$"
  if item then return object("type", "array", "items", schema(item)) end
  local inner = text:match "^table<(.*)>$"
  if inner then
    return object("type", "object", "additionalProperties", schema(split(inner, ",")[2]))
  end
  local word = text:match '^"(.*)"$'
  if word then return object("const", word) end
  error("no schema for the type " .. text)
end

-- ---- annotations ----

-- A type at the beginning of text, and what is behind it.
local function split_type(text)
  local depth = 0
  for at = 1, #text do
    local c = text:sub(at, at)
    if c:match "[%(<{%[]" then depth = depth + 1 end
    if c:match "[%)>}%]]" then depth = depth - 1 end
    if c == " " and depth == 0 and not text:sub(1, at - 1):match "[,:|]$" then
      return text:sub(1, at - 1), text:sub(at + 1)
    end
  end
  return text, ""
end

local function parse_function(name)
  local comment = meta:match("\n\n(%-%-%-[^\n]*\n[%-][^%z]-)\nfunction Gateway%." .. name .. "%(")
  comment = comment and comment:match ".*\n\n(.-)$" or comment
  assert(comment, name .. " is not annotated")
  local f = { text = {}, params = {}, types = {} }
  local in_code = false
  for line in (comment .. "\n"):gmatch "([^\n]*)\n" do
    local param, rest = line:match "^%-%-%-@param ([%w_]+%??) (.*)$"
    local result = line:match "^%-%-%-@return (.*)$"
    local text = line:match "^%-%-%-(.*)$"
    if text and text:find "^```" then
      in_code = not in_code
    elseif param then
      f.params[#f.params + 1] = param
      local kind, what = split_type(rest)
      f.types[param:match "^[%w_]+"] = { type = kind, text = what }
    elseif result then
      f.result = f.result or split_type(result):gsub("%?$", "")
    elseif text and not text:find "^@" and not in_code then
      f.text[#f.text + 1] = text
    end
  end
  return f
end

-- The fields of a class of options, and of the one that it inherits from.
local function parse_class(name, fields)
  local parent, block = meta:match("%-%-%-@class " .. name .. ":? ?([%w_]*)\n(.-)\n\n")
  assert(block, name)
  if parent ~= "" then parse_class(parent, fields) end
  for field, rest in block:gmatch "%-%-%-@field ([%w_]+)%? ([^\n]+)" do
    local kind, text = split_type(rest)
    fields[field] = { type = kind, text = text }
  end
  return fields
end

-- ---- calls ----

local options = {}
for name, list in api:match "\nlocal options = (%b{})":gmatch "\n  ([%w_]+) = (%b{})" do
  options[name] = {}
  for key in list:gmatch '"([%w_]+)"' do table.insert(options[name], key) end
end

local function with_text(list, text)
  if text and text ~= "" then set(list, "description", text) end
  return list
end

local function add_message(properties)
  set(properties, "message", ref "message")
  set(properties, "message_base64", object("type", "string", "contentEncoding", "base64",
    "description", "in place of message, for bytes"))
end

local function parameters(name, words, f)
  local properties, required, any = object(), {}, nil
  local n = 0
  for word in words:gmatch "%S+" do
    n = n + 1
    local key, optional = word:match "^[%w_]+", word:sub(-1) == "?"
    local annotated = f.params[n] or ""
    if options[key] then
      assert(annotated == "options?", name .. ": options")
      local fields = parse_class(key, {})
      for _, field in ipairs(options[key]) do
        local its = assert(fields[field], key .. "." .. field)
        set(properties, field, with_text(schema(its.type), its.text))
      end
    else
      assert(annotated == word, name .. ": " .. word .. " is annotated as " .. annotated)
      if key == "message" then
        add_message(properties)
        if not optional then
          any = { object("required", { "message" }), object("required", { "message_base64" }) }
        end
      else
        local its = f.types[key]
        set(properties, key, with_text(schema(its.type:gsub('|""', "")), its.text))
        if not optional then required[#required + 1] = key end
      end
    end
  end
  assert(n == #f.params, name .. ": the number of its parameters")
  local body = object("type", "object", "properties", properties, "additionalProperties", false)
  if #required > 0 then set(body, "required", required) end
  if any then set(body, "anyOf", any) end
  return body
end

local function content(kind, body) return object(kind, object("schema", body)) end

local function responses(result)
  return object(
    "200", object("description", "done", "content", content("application/json", result)),
    "default", object("$ref", "#/components/responses/Problem"))
end

local function operation(name, kind, words)
  local f = parse_function(name)
  local text = table.concat(f.text, "\n"):gsub("%s*%f[%w]Waits%.", "")
  local result = object("anyOf", { schema(f.result), object("type", "null") })
  local answer = object("type", "object", "required", { "result" }, "properties", object(
    "result", result,
    "partial", object("const", true, "description", "some gateways did not answer"),
    "missing", object("type", "string", "description", "why, if partial")))
  return object("post", object(
    "operationId", name,
    "tags", { kind },
    "description", text,
    "requestBody", object(
      "required", true, "content", content("application/json", parameters(name, words, f))),
    "responses", responses(answer)))
end

local paths = object()
local calls = api:match "\nlocal calls = (%b{})"
for name, kind, words in calls:gmatch '\n  (%w+) = { "(%l+)", "([^"]*)"' do
  set(paths, "/" .. name, operation(name, kind, words))
end

local max = api:match "\nlocal BATCH_MAX = (%d+)"
set(paths, "/batch", object("post", object(
  "operationId", "batch",
  "tags", { "batch" },
  "description", "Several calls in their order, each with its own result.",
  "requestBody", object("required", true, "content", content("application/json", object(
    "type", "object", "required", { "calls" }, "additionalProperties", false, "properties", object(
      "calls", object("type", "array", "maxItems", tonumber(max), "items", object(
        "type", "object", "required", { "call" }, "properties", object(
          "call", object("type", "string"), "params", object("type", "object")))))))),
  "responses", responses(object("type", "object", "required", { "result" }, "properties", object(
    "result", object("type", "array", "items", object("type", "object", "properties", object(
      "result", object(), "problem", ref "Problem")))))))))

local name_schema = { object("type", "string", "minLength", 1), object("type", "integer") }

local problem = object("type", "object", "required", { "type", "title", "status", "detail" },
  "properties", object(
    "type", object("type", "string"),
    "title", object("type", "string"),
    "status", object("type", "integer"),
    "code", object("type", "string"),
    "detail", object("type", "string")))

local components = object(
  "securitySchemes", object("key", object("type", "http", "scheme", "bearer")),
  "responses", object("Problem", object(
    "description", "what is wrong (RFC 9457)",
    "content", content("application/problem+json", ref "Problem"))),
  "schemas", object(
    "client_id", object("type", "string", "pattern", "^[0-9a-f]{20}$"),
    "uid", object("anyOf", name_schema),
    "group", object("anyOf", name_schema),
    "message", object("anyOf", { object("type", "string"), object("type", "number") }),
    "session", object("type", { "object", "array" }),
    "Problem", problem))

local document = object(
  "openapi", "3.1.0",
  "info", object(
    "title", "gwrun's push API",
    "version", "1",
    "description", "What scripts call as Gateway's functions, over HTTP: docs/http-api.md."),
  "servers", { object("url", "http://127.0.0.1:8283/api") },
  "security", { object("key", {}) },
  "paths", paths,
  "components", components)

print(write(document, ""))
