-- gwrun.routes: which function answers which request.
--
-- A route's path is made of segments: plain text, ":name" for one segment, and
-- "*name" at the end for the rest. Of several that match, the one whose first
-- difference is plain text is taken; then ":name", then "*name"; but none that
-- does not answer the request's method, as long as another does.
--
-- Loaded by lualib/linit.c when a script requires it, with what gwrun's modules
-- share.
local common = ...
local raise = common.raise
local error = raise.error

local M = {}

local Routes = {}
Routes.__index = Routes

local function bad(text, ...) error("routes: " .. text:format(...), 1) end

-- %XX in a segment; nil when it is not valid.
local function unescape(text)
  if text:find "%%" == nil then return text end
  if text:gsub("%%%x%x", ""):find("%", 1, true) then return nil end
  return (text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

local function new_node() return { plain = {} } end

-- The node at the end of path, made where there is none.
local function node_of(root, path)
  if type(path) ~= "string" or path:sub(1, 1) ~= "/" then
    bad("the path is %s; give one that begins with /", tostring(path))
  end
  local node, names, seen = root, {}, {}
  for segment, stop in path:gmatch "/([^/]*)()" do
    local kind, name = segment:match "^([:*])(.*)$"
    if not kind then
      node.plain[segment] = node.plain[segment] or new_node()
      node = node.plain[segment]
    else
      if not name:match "^[%a_][%w_]*$" then
        bad("%s in %s has no name of letters and digits", segment, path)
      end
      if seen[name] then bad("%s has %s twice", path, name) end
      if kind == "*" and stop <= #path then
        bad("%s is not the last part of %s", segment, path)
      end
      seen[name] = true
      names[#names + 1] = name
      local key = kind == "*" and "rest" or "any"
      node[key] = node[key] or new_node()
      node = node[key]
    end
  end
  return node, names
end

--- A new, empty table of routes.
function M.new()
  return setmetatable({ root = new_node(), middle = {} }, Routes)
end

--- f(request, params) answers requests of that method.
function Routes:on(method, path, f)
  if type(method) ~= "string" or not method:match "^%u+$" then
    bad("the method is %s; give it in capitals, such as GET", tostring(method))
  end
  if type(f) ~= "function" then bad("%s %s has no function", method, tostring(path)) end
  local node, names = node_of(self.root, path)
  node.methods = node.methods or {}
  if node.methods[method] then bad("%s %s is there already", method, path) end
  node.methods[method] = { f = f, names = names }
  return self
end

for _, name in ipairs { "get", "post", "put", "patch", "delete" } do
  Routes[name] = function(self, path, f) return self:on(name:upper(), path, f) end
end

--- f(request, next) runs around all routes, first added outermost.
function Routes:use(f)
  if type(f) ~= "function" then bad("use(f) has no function") end
  table.insert(self.middle, f)
  return self
end

-- Whether a node answers that method; if not, what it does answer joins others.
local function answers(node, method, others)
  local methods = node.methods or {}
  if methods[method] or method == "HEAD" and methods.GET then return true end
  for other in pairs(methods) do others[other] = true end
end

-- The first node for segments[i …] that answers the method, and in values what
-- stands for its names; else nil, and in others what those answer that match.
local function find(node, segments, i, values, method, others)
  if i > #segments then return answers(node, method, others) and node end
  local segment = segments[i]
  local next_node = node.plain[segment]
  local found = next_node and find(next_node, segments, i + 1, values, method, others)
  if found then return found end
  local place = #values + 1
  if node.any and segment ~= "" then
    values[place] = segment
    found = find(node.any, segments, i + 1, values, method, others)
    if found then return found end
    values[place] = nil
  end
  if node.rest and answers(node.rest, method, others) then
    values[place] = table.concat(segments, "/", i)
    return node.rest
  end
end

local function allow_of(methods)
  methods.OPTIONS = true
  methods.HEAD = methods.HEAD or methods.GET
  local list = {}
  for method in pairs(methods) do list[#list + 1] = method end
  table.sort(list)
  return table.concat(list, ", ")
end

local function params_of(names, values)
  local params = {}
  for n, name in ipairs(names) do params[name] = values[n] end
  return params
end

-- Answer by the routes alone.
local function dispatch(self, request)
  if request.path == "*" then return 204 end -- OPTIONS of the server itself
  local segments, values = {}, {}
  for segment in request.path:gmatch "/([^/]*)" do
    local plain = unescape(segment)
    if not plain then return 400, nil, "the path is not valid\n" end
    segments[#segments + 1] = plain
  end
  local method, others = request.method, {}
  local node = find(self.root, segments, 1, values, method, others)
  if node then
    local route = node.methods[method] or node.methods.GET
    return route.f(request, params_of(route.names, values))
  end
  if not next(others) then return nil end
  local allow = { Allow = allow_of(others) }
  if method == "OPTIONS" then return 204, allow end
  return 405, allow
end

--- What Events.onRequest is set to.
function Routes:handler()
  local function run(request, i)
    local f = self.middle[i]
    if not f then return dispatch(self, request) end
    return f(request, function() return run(request, i + 1) end)
  end
  return function(request) return run(request, 1) end
end

return M
