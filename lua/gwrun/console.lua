-- A piece of Lua that somebody typed into a running worker (gwrun attach): run
-- it, and show what it prints and returns. Run by lualib/lconsole.c.
local show, code = ...

local DEPTH = 5 -- tables in tables
local ENTRIES = 200 -- of one table
local LINE = 76 -- bytes of a table on one line

local function escape(bytes)
  return (bytes:gsub(".", function(c) return ("\\%03d"):format(c:byte()) end))
end

-- Controls, and marks that turn the direction of text, as util/utf8.h has them.
local commands = {
  "[\0-\8\11-\31\127]", "\xC2[\x80-\x9F]", "\u{61C}", "\xE2\x80[\x8E\x8F\xA8-\xAE]",
  "\xE2\x81[\xA6-\xAF]", "\u{FEFF}",
}

-- Nothing but tabs and newlines moves a terminal's cursor; other UTF-8 remains.
local function clean(text)
  if not utf8.len(text) then text = text:gsub("[\x80-\xFF]", escape) end
  for _, pattern in ipairs(commands) do text = text:gsub(pattern, escape) end
  return text
end

local function quote(s)
  return '"' .. clean((s:gsub('["\\]', "\\%0"):gsub("\n", "\\n"):gsub("\t", "\\t"))) .. '"'
end

local order = { number = 1, string = 2 }

local function before(a, b)
  local x, y = order[type(a)] or 3, order[type(b)] or 3
  if x ~= y then return x < y end
  if x == 3 then return tostring(a) < tostring(b) end
  return a < b
end

local function sorted_keys(t)
  local keys = {}
  for k in next, t do keys[#keys + 1] = k end
  table.sort(keys, before)
  return keys
end

local describe

local function entry(key, value, is_item, level, above)
  local text = describe(value, level + 1, above)
  if is_item then return text end
  if type(key) == "string" and key:find "^[%a_][%w_]*$" then return key .. " = " .. text end
  return "[" .. describe(key, DEPTH, above) .. "] = " .. text
end

local function describe_table(t, level, above)
  if next(t) == nil then return "{}" end
  if above[t] or level >= DEPTH then return "{…}" end
  above[t] = true
  local parts, size = {}, 0
  for i, key in ipairs(sorted_keys(t)) do
    parts[i] = i > ENTRIES and "…" or entry(key, rawget(t, key), key == i, level, above)
    size = size + #parts[i] + 2
    if i > ENTRIES then break end
  end
  above[t] = nil
  if size <= LINE and not table.concat(parts):find "\n" then
    return "{ " .. table.concat(parts, ", ") .. " }"
  end
  local indent = ("  "):rep(level + 1)
  return "{\n" .. indent .. table.concat(parts, ",\n" .. indent) .. "\n" .. ("  "):rep(level) .. "}"
end

-- above: the tables that this value is in.
function describe(value, level, above)
  if type(value) == "string" then return quote(value) end
  local meta = debug.getmetatable(value)
  if type(value) == "table" and not (meta and (meta.__tostring or meta.__name)) then
    return describe_table(value, level, above)
  end
  return clean(tostring(value))
end

-- The script's globals, but its own print.
local print = print
local env = setmetatable({}, { __index = _G, __newindex = _G })

function env.print(...)
  local words = table.pack(...)
  for i = 1, words.n do words[i] = tostring(words[i]) end
  -- into the log when a timer of ours prints later
  if not show(clean(table.concat(words, "\t")) .. "\n") then print(...) end
end

local chunk, message = load("return " .. code, "=console", "t", env)
if not chunk then chunk, message = load(code, "=console", "t", env) end
if not chunk then error(message, 0) end
local values = table.pack(chunk())
for i = 1, values.n do values[i] = describe(values[i], 0, {}) end
if values.n > 0 then show(table.concat(values, "\t") .. "\n") end
