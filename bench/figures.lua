-- The figures of bench/count: how they are stored, and what is too much.
local M = {}

--- How much more than the stored figure fails, and the share of an operation
--- below which a process only shows the noise of its clocks.
M.tolerance = 0.03
M.share = 0.02

local head = [[
# Instructions of an operation in user space; bench/count --store writes this.
]]

local function sorted_keys(t)
  local keys = {}
  for k in pairs(t) do keys[#keys + 1] = k end
  table.sort(keys)
  return keys
end

--- versions: name -> text; figures: array of { case, role, count }.
function M.format(versions, figures)
  local lines = {}
  for _, name in ipairs(sorted_keys(versions)) do
    lines[#lines + 1] = ("version %s %s\n"):format(name, versions[name])
  end
  for _, f in ipairs(figures) do
    lines[#lines + 1] = ("figure %s %s %d\n"):format(f.case, f.role, f.count)
  end
  return head .. table.concat(lines)
end

--- versions and, by case and role, the count: figures["echo-64"].worker.
function M.parse(text)
  local versions, figures = {}, {}
  for line in text:gmatch "[^\n]+" do
    local name, version = line:match "^version (%S+) (.+)$"
    local case, role, count = line:match "^figure (%S+) (%S+) (%d+)$"
    if name then
      versions[name] = version
    elseif case then
      figures[case] = figures[case] or {}
      figures[case][role] = math.tointeger(count)
    elseif line:sub(1, 1) ~= "#" then
      error("not a line of figures: " .. line, 0)
    end
  end
  return versions, figures
end

--- What differs from the stored versions, as text, or nil.
function M.difference(versions, stored)
  local all, found = {}, {}
  for name in pairs(versions) do all[name] = true end
  for name in pairs(stored) do all[name] = true end
  for _, name in ipairs(sorted_keys(all)) do
    local here, there = versions[name] or "none", stored[name] or "none"
    if here ~= there then found[#found + 1] = ("%s is %s, was %s"):format(name, here, there) end
  end
  return found[1] and table.concat(found, "; ")
end

--- The line of one figure, and whether it is too much. stored and other, what
--- the other process of the operation takes, may be nil.
function M.judge(figure, stored, other)
  local line = ("%-12s %-8s %9d"):format(figure.case, figure.role, figure.count)
  if not stored then return line .. "  (no stored figure)", false end
  local change = (figure.count - stored) / stored
  line = ("%s  stored %9d  %+6.2f %%"):format(line, stored, change * 100)
  if other and math.max(figure.count, stored) < M.share * other then
    return line .. "  (too little to judge)", false
  end
  local bad = figure.count > stored * (1 + M.tolerance)
  return line .. (bad and ("  FAILED: more than %+d %%"):format(M.tolerance * 100) or ""), bad
end

--- All lines, and how many are too much. Whoever differs in a version is only
--- shown.
function M.report(versions, figures, stored_text)
  local stored_versions, stored = {}, {}
  if stored_text then stored_versions, stored = M.parse(stored_text) end
  local differs = stored_text and M.difference(versions, stored_versions)
  local counts, lines, failed = {}, {}, 0
  for _, f in ipairs(figures) do
    counts[f.case] = counts[f.case] or {}
    counts[f.case][f.role] = f.count
  end
  for _, f in ipairs(figures) do
    local other = counts[f.case][f.role == "worker" and "gateway" or "worker"]
    local line, bad = M.judge(f, (stored[f.case] or {})[f.role], other)
    if differs then line = line:gsub("  FAILED.*", "") end
    lines[#lines + 1] = line
    if bad and not differs then failed = failed + 1 end
  end
  if differs then lines[#lines + 1] = "not judged: " .. differs end
  return lines, failed
end

return M
