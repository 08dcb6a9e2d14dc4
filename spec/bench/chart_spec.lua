-- The picture of what cells cost, and that docs/ have the figures that were measured.
local chart = require "bench.cells.chart"
local testbed = require "testbed"

local data = testbed.read_file "bench/cells/grow.tsv"
local rows = chart.parse(data)

local function commas(value) return (("%.0f"):format(value):gsub("^(%d+)(%d%d%d)$", "%1,%2")) end

describe("bench.cells.chart", function()
  it("reads a row for each line, numbers as numbers", function()
    assert.same({ { kind = "cells", systems = 1, cpu_us = 2.5 }, { kind = "mesh", systems = 20, cpu_us = -1 } },
      chart.parse "kind\tsystems\tcpu_us\ncells\t1\t2.50\nmesh\t20\t-1\n")
  end)

  it("rounds up to what people count by", function()
    for value, rounded in pairs { [1] = 1, [1.1] = 2, [3] = 5, [7] = 10, [0.03] = 0.05, [2592] = 5000 } do
      assert.near(rounded, chart.round_up(value), rounded * 1e-9)
    end
  end)

  it("draws docs/cells.svg, which is that of bench/cells/grow.tsv", function()
    assert.equal(testbed.read_file "docs/cells.svg", chart.svg(rows))
  end)
end)

describe("docs/performance.md", function()
  local page = testbed.read_file "docs/performance.md"
  local from = assert(page:find("\n## Cells\n", 1, true))
  local section = page:sub(from, page:find("\n## ", from + 1, true))

  it("has the figures of bench/cells/grow.tsv", function()
    for _, line in ipairs(chart.lines(rows)) do
      assert(section:find("\n" .. line .. "\n", 1, true), "not in docs/performance.md: " .. line)
    end
  end)

  it("says how many connections so many machines hold, of either kind", function()
    local function of_cells(n) return 56 * n end
    local function of_mesh(n) return 32 * n * n + 8 * n end
    for _, row in ipairs(rows) do
      assert.equal((row.kind == "cells" and of_cells or of_mesh)(row.systems), row.connections)
    end
    for _, words in ipairs {
      "56 for each cell", "32 n² + 8 n", commas(of_mesh(50)) .. " with 200 gateways",
      "50 cells do with " .. commas(of_cells(50)),
    } do
      assert(section:find(words, 1, true), words)
    end
  end)
end)

describe("docs/scale.md", function()
  local page = testbed.read_file "docs/scale.md"

  it("has the arithmetic of bench/cells/grow.tsv for twenty cells", function()
    local twenty, mesh = {}, {}
    for _, row in ipairs(rows) do
      if row.systems == 20 then (row.kind == "cells" and twenty or mesh).row = row end
    end
    local cells = twenty.row
    local own = 1.1 -- ms a second of Redis without any cell
    assert.equal("0.04", ("%.2f"):format((cells.idle_redis_ms - own) / 160))
    for _, words in ipairs {
      "0.04 ms of Redis' CPU a second, with 80 gateways", "160 × 0.04 ms",
      ("| %.1f %% of Redis' core"):format((cells.idle_redis_ms - own) / 10),
      ("| %s, of which %d to Redis"):format(commas(cells.connections), cells.to_redis),
      "= " .. commas(mesh.row.connections) .. " |",
      ("| %.0f MB, 56 connections, 16 of them to Redis |"):format(cells.memory_mb / 20),
    } do
      assert(page:find(words, 1, true), words)
    end
  end)
end)
