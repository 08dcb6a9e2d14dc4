-- The figures of bench/cells/grow as a picture: one panel for each column, over the number
-- of systems, one line for each kind.
local M = {}

local KINDS = {
  { name = "cells", says = "cells joined by Redis", colour = "#1769aa" },
  { name = "mesh", says = "one full mesh", colour = "#c0392b" },
}
local PANELS = {
  { column = "connections", says = "connections held" },
  { column = "cpu_us", says = "CPU for a message to a uid, µs" },
  { column = "commands", says = "Redis’ commands for it", kinds = 1 },
  { column = "idle_ms", says = "CPU when idle, ms a second" },
  { column = "memory_mb", says = "memory, MB" },
  { column = "idle_redis_ms", says = "Redis’ CPU when idle, ms a second", kinds = 1 },
}
local WIDTH, HEIGHT = 300, 210                       -- of a panel
local LEFT, RIGHT, TOP, BOTTOM = 56, 16, 34, 34      -- around what it plots
local ACROSS, HEAD = 3, 40

--- Rows of the text of grow.tsv, with numbers where they are.
function M.parse(text)
  local rows, columns = {}, nil
  for line in text:gmatch "[^\n]+" do
    local words = {}
    for word in line:gmatch "[^\t]+" do words[#words + 1] = tonumber(word) or word end
    if columns then
      local row = {}
      for i, column in ipairs(columns) do row[column] = words[i] end
      rows[#rows + 1] = row
    else
      columns = words
    end
  end
  return rows
end

--- The least of 1, 2 or 5 times a power of ten that is at least so much.
function M.round_up(value)
  local power = 10 ^ math.floor(math.log(value, 10))
  for _, factor in ipairs { 1, 2, 5 } do
    if factor * power >= value * (1 - 1e-9) then return factor * power end
  end
  return 10 * power
end

local function commas(value)
  local text = ("%d"):format(value):reverse():gsub("(%d%d%d)", "%1,"):reverse()
  return (text:gsub("^,", ""))
end

--- The lines of the table in docs/performance.md.
function M.lines(rows)
  local mesh, lines = {}, {}
  for _, row in ipairs(rows) do
    if row.kind == "mesh" then mesh[row.systems] = row end
  end
  local function whole(value) return commas(math.floor(value + 0.5)) end
  for _, row in ipairs(rows) do
    local other = mesh[row.systems]
    if row.kind == "cells" then
      lines[#lines + 1] = "| " .. table.concat({
        row.systems, whole(row.connections), whole(other.connections), whole(row.cpu_us),
        whole(other.cpu_us), ("%.1f"):format(row.commands), whole(row.idle_ms),
        whole(other.idle_ms), ("%.1f"):format(row.idle_redis_ms),
      }, " | ") .. " |"
    end
  end
  return lines
end

local function text(x, y, anchor, words, class)
  return ('<text class="%s" x="%.1f" y="%.1f" text-anchor="%s">%s</text>'):format(
    class or "label", x, y, anchor, words)
end

-- The largest value of the kinds that the panel shows, and the largest number of systems.
local function extent(rows, what)
  local most, last = 1e-9, 0
  for _, row in ipairs(rows) do
    if row.kind == KINDS[1].name or what.kinds ~= 1 then most = math.max(most, row[what.column]) end
    last = math.max(last, row.systems)
  end
  return most, last
end

local function line(out, points, colour)
  local all = {}
  for i, point in ipairs(points) do
    all[i] = ("%.1f,%.1f"):format(point.x, point.y)
    local dot = '<circle cx="%.1f" cy="%.1f" r="2.5" fill="%s"/>'
    out[#out + 1] = dot:format(point.x, point.y, colour)
  end
  out[#out + 1] = ('<polyline points="%s" stroke="%s"/>'):format(table.concat(all, " "), colour)
end

-- The panel in the frame whose corner is x0, y0.
local function panel(out, rows, what, x0, y0)
  local most, last = extent(rows, what)
  local step = M.round_up(most / 5)
  local top = math.ceil(most / step - 1e-9) * step
  local function x(systems) return x0 + LEFT + (WIDTH - LEFT - RIGHT) * systems / last end
  local function y(value)
    return y0 + HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top
  end
  out[#out + 1] = text(x0 + LEFT, y0 + TOP - 14, "start", what.says, "title")
  for i = 0, math.floor(top / step + 0.5) do
    local value = i * step
    local label = step < 1 and ("%.1f"):format(value) or commas(math.floor(value + 0.5))
    out[#out + 1] = ('<path class="grid" d="M%.1f %.1fH%.1f"/>'):format(x(0), y(value), x(last))
    out[#out + 1] = text(x(0) - 6, y(value) + 4, "end", label)
  end
  for k = 1, what.kinds or #KINDS do
    local points = {}
    for _, row in ipairs(rows) do
      if row.kind == KINDS[k].name then
        points[#points + 1] = { x = x(row.systems), y = y(row[what.column]) }
      end
    end
    line(out, points, KINDS[k].colour)
  end
  for _, row in ipairs(rows) do
    local crowded = row.systems == 2 or row.systems == 3 -- no room for their numbers
    if row.kind == KINDS[1].name and not crowded then
      out[#out + 1] = text(x(row.systems), y0 + HEIGHT - BOTTOM + 16, "middle", row.systems)
    end
  end
end

--- The picture, an SVG file's text.
function M.svg(rows)
  local width, height = ACROSS * WIDTH, HEAD + #PANELS // ACROSS * HEIGHT + 10
  local head = '<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" role="img">'
  local out = {
    head:format(width, height),
    "<title>One to twenty cells, and as many machines in one full mesh</title>",
    "<style>",
    "text { font: 11px sans-serif; fill: #333 }",
    ".title { font-weight: bold }",
    ".grid { stroke: #ddd }",
    "polyline { fill: none; stroke-width: 2 }",
    "</style>",
    ('<rect width="%d" height="%d" fill="#fff"/>'):format(width, height),
  }
  local x = LEFT
  for _, kind in ipairs(KINDS) do
    out[#out + 1] = ('<path d="M%d 20h24" stroke="%s" stroke-width="3"/>'):format(x, kind.colour)
    out[#out + 1] = text(x + 30, 24, "start", kind.says)
    x = x + 190
  end
  out[#out + 1] = text(x, 24, "start",
    "over the number of machines, each of 4 gateways and 4 workers")
  for i, what in ipairs(PANELS) do
    panel(out, rows, what, (i - 1) % ACROSS * WIDTH, HEAD + (i - 1) // ACROSS * HEIGHT)
  end
  out[#out + 1] = "</svg>\n"
  return table.concat(out, "\n")
end

return M
