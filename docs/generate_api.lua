-- docs/generate_api.lua META: print docs/api.md, made from the annotations that
-- editors read (lua/meta/gwrun.lua). `make docs` writes it.
--
-- The file is read block by block (blocks end at an empty line): an alias, a
-- class with its fields, a global, or a function, each with its comment.

local INTRO = [[
# What scripts can call

Made from `lua/meta/gwrun.lua` by `make docs`; do not edit it here. Editors with the Lua language
server show the same text when that file is in their library path.

A script defines callbacks in the table `Events`; gwrun calls them as clients come, send and go,
each call in a coroutine of its own. What is marked **Waits** lets other clients' events go on until
its result is there, and cannot be called while the script is being loaded.

```lua
Events = {}

function Events.onMessage(client_id, message)
  Gateway.joinGroup(client_id, "lobby")
  Gateway.sendToGroup("lobby", message)
end
```

A wrong argument raises an error that names it. What fails while running returns `nil, message,
code`, the code as in `"enotconn"`: wrap the call in `assert()` to make an error of it, or look. A
query that reached only some gateways returns `nil, message, code, partial`. With `cluster`
([cluster.md](cluster.md)) what is for all cells and served only this one returns `true, "local"`,
and the client id of a gateway that no cell has `nil, message, "unknown_cell"`.
]]

local function blocks(text)
  local list, block = {}, {}
  for line in (text .. "\n\n"):gmatch "([^\n]*)\n" do
    if line ~= "" then
      block[#block + 1] = line
    elseif #block > 0 then
      list[#list + 1] = block
      block = {}
    end
  end
  return list
end

-- A type at the beginning of text, and what is behind it. Types hold spaces only
-- inside brackets and after a comma or a colon.
local function split_type(text)
  local depth, at = 0, 1
  while at <= #text do
    local c = text:sub(at, at)
    if c:match "[%(<{%[]" then depth = depth + 1 end
    if c:match "[%)>}%]]" then depth = depth - 1 end
    if c == " " and depth == 0 and not text:sub(1, at - 1):match "[,:|]$" then break end
    at = at + 1
  end
  return text:sub(1, at - 1), (text:sub(at + 1):gsub("^%s*#?%s*", ""))
end

local function parse(block)
  local b = { text = {}, fields = {}, params = {}, returns = {} }
  for _, line in ipairs(block) do
    local tag, rest = line:match "^%-%-%-@(%w+)%s*(.*)$"
    if tag == "class" or tag == "alias" then
      b.kind, b.name, b.rest = tag, rest:match "^([%w_.]+)%s*(.*)$"
    elseif tag == "type" then
      b.type = rest
    elseif tag == "field" or tag == "param" then
      local name, more = rest:match "^(%S+)%s+(.*)$"
      local kind, text = split_type(more)
      table.insert(b[tag .. "s"], { name = name, type = kind, text = text })
    elseif tag == "return" then
      local kind, text = split_type(rest)
      table.insert(b.returns, { type = kind, text = text })
    elseif line:match "^%-%-%-" and not tag then
      b.text[#b.text + 1] = line:sub(4)
    elseif line:match "^function " then
      b.kind, b.name = "function", line:match "^function ([%w_.:]+)"
      b.signature = line:match "^function (.-) end$"
    elseif line:match "^_%u+ = " then
      b.kind, b.name = "global", line:match "^(%S+)"
    end
  end
  return b
end

local function code(type) return "`" .. type .. "`" end

local function write_item(out, item)
  local name = item.name and ("`" .. item.name .. "`: ") or ""
  out[#out + 1] = "- " .. name .. code(item.type) .. (item.text ~= "" and " — " .. item.text or "")
end

local function write_text(out, b)
  if #b.text > 0 then
    local text = table.concat(b.text, "\n"):gsub("%f[%w]Waits%.", "**Waits.**")
    text = text:gsub("([^\n])\n```lua\n", "%1\n\n```lua\n")
    out[#out + 1] = text .. "\n"
  end
end

local function write_returns(out, returns)
  if #returns == 0 then return end
  local parts = {}
  local fails = false
  for _, r in ipairs(returns) do
    local name = r.text:match "^(%S*)"
    if name == "message" or name == "code" or name == "partial" then
      fails = fails or name
      if name == "partial" then fails = "partial" end
    else
      parts[#parts + 1] = code(r.type) .. (r.text ~= "" and " " .. r.text or "")
    end
  end
  local after = not fails and "" or fails == "partial" and "; or `nil, message, code, partial`"
    or "; or `nil, message, code`"
  out[#out + 1] = "Returns " .. table.concat(parts, ", ") .. after .. ".\n"
end

local writers = {}

writers["function"] = function(out, b)
  out[#out + 1] = "### " .. b.name .. "\n\n```lua\n" .. b.signature .. "\n```\n"
  write_text(out, b)
  for _, p in ipairs(b.params) do write_item(out, p) end
  if #b.params > 0 then out[#out + 1] = "" end
  write_returns(out, b.returns)
end

function writers.class(out, b)
  out[#out + 1] = "## " .. b.name .. "\n"
  write_text(out, b)
  local parent = b.rest:match "^:%s*(%S+)"
  if parent then out[#out + 1] = "All of `" .. parent .. "`, and:\n" end
  for _, f in ipairs(b.fields) do write_item(out, f) end
  if #b.fields > 0 then out[#out + 1] = "" end
end

function writers.alias(out, b)
  out[#out + 1] = "### " .. b.name .. "\n\n" .. code(b.rest) .. "\n"
  write_text(out, b)
end

function writers.global(out, b)
  out[#out + 1] = "## " .. b.name .. "\n"
  write_text(out, b)
  out[#out + 1] = "Type: `" .. b.type .. "`\n"
end

local M = {}

--- The text of docs/api.md for the text of lua/meta/gwrun.lua.
function M.generate(meta)
  local out, kinds = { INTRO }, {}
  for _, block in ipairs(blocks(meta)) do
    local b = parse(block)
    local group = b.kind == "alias" and "alias" or "rest"
    if b.kind then
      kinds[group] = kinds[group] or {}
      table.insert(kinds[group], b)
    end
  end
  for _, b in ipairs(kinds.rest) do writers[b.kind](out, b) end
  out[#out + 1] = "## Names of values\n"
  for _, b in ipairs(kinds.alias) do writers.alias(out, b) end
  return (table.concat(out, "\n"):gsub("\n\n\n+", "\n\n"):gsub("\n*$", "\n"))
end

if arg and arg[0] and arg[0]:match "generate_api%.lua$" then
  local file = assert(io.open(arg[1]))
  io.write(M.generate(file:read "a"))
  file:close()
end

return M
