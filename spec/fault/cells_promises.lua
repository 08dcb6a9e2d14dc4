-- What is promised between cells (docs/cluster.md), as promises.lua has it inside one.
local M = {}

M.rows = {
  { finding = "crossing_twice", promise = "C1", text = "nothing comes twice" },
  { finding = "crossing_reordered", promise = "C2", text = "what one worker sends reaches one client in order" },
  { finding = "crossing_missing", promise = "C3",
    text = "what is missing was sent in a gap, or counted, or its script was told" },
  { finding = "told_wrongly", promise = "C3", text = "only who is away says that a send is local" },
  { finding = "crossing_astray", promise = "C4", text = "nobody gets what is for others" },
  { finding = "crossing_unsent", promise = "C4", text = "what comes was sent" },
  { finding = "crossing_faulty", promise = "C4", text = "what crosses is understood" },
  { finding = "inside_missing", promise = "C5", text = "inside a cell nothing is missing that was not counted" },
  { finding = "free_fault_cost", promise = "C5", text = "what cells do not need costs nothing" },
  { finding = "recovery_late", promise = "C6", text = "crossing works again in time" },
  { finding = "gone_missing", promise = "C7", text = "onCellGone begins for a cell that was killed" },
  { finding = "gone_twice", promise = "C7", text = "onCellGone begins once in the system" },
  { finding = "gone_wrong", promise = "C7", text = "onCellGone begins for nobody who is there" },
  { finding = "gap_untold", promise = "C8", text = "onClusterGap runs in each cell that was away" },
  { finding = "line_unreadable", promise = "the laboratory", text = "the log can be read" },
  { finding = "nothing_crossed", promise = "the laboratory", text = "something came from each cell in each" },
}

return M
