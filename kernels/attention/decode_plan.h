// The split of a decode step's attention over the blocks of a GPU. Pure host code.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace baton::kernels {

// Query heads that share a KV head are computed together, at most so many at a time.
inline constexpr int kDecodeTileHeads = 8;

// A consecutive part of one item (a sequence and a tile of query heads), done by one block. Read by
// the kernel as it lies here.
struct DecodeWork {
  int32_t sequence = 0;
  int32_t tile = 0;         // KV head * tiles per KV head + tile
  int32_t token_begin = 0;  // tokens that the item's query sees: [token_begin, token_end)
  int32_t token_end = 0;
  int32_t chunk_begin = 0;  // this part: chunks of chunk_tokens tokens, counted from position 0
  int32_t chunk_end = 0;
  int32_t slot = -1;       // where its partial result goes; -1: it is the whole item
  int32_t first_slot = 0;  // of the item, which has slots [first_slot, first_slot + parts)
  int32_t parts = 1;
  int32_t counter = 0;  // of the item's finished parts
};

struct DecodePlanShape {
  std::span<const int32_t> lengths;  // tokens of each sequence, the query's own included; 0: none
  int window = 0;                    // tokens seen, the query's own included; 0: all
  int kv_heads = 0;
  int tiles = 1;         // of query heads per KV head: DecodeTiles
  int chunk_tokens = 0;  // a multiple of 16
  int blocks = 0;        // of the grid
  int min_chunks = 1;    // a block gets at least so many, as long as there are
  int work_cost = 0;     // what beginning and ending a work costs, in chunks
};

constexpr int DecodeTiles(int q_heads, int kv_heads) {
  return (q_heads / kv_heads + kDecodeTileHeads - 1) / kDecodeTileHeads;
}

struct DecodePlan {
  // Block b does works[begin[b]] ... works[begin[b + 1] - 1], in order.
  std::vector<int32_t> begin;  // [blocks + 1]
  std::vector<DecodeWork> works;
  int slots = 0;     // at most 2 * blocks
  int counters = 0;  // at most blocks

  // What is uploaded: begin, padded to whole 16 bytes, then the works.
  std::vector<int32_t> Words() const;
};

// Gives each block one part of one item, or the same number of whole items, where that is nearly
// even; else cuts the chunks of all items, laid end to end with work_cost before each item, into
// shares of equal cost. At most two works of a block are parts of a split item, and no block costs
// more than an even share and a sixteenth, two chunks and one and a half work_cost, whatever the
// lengths.
DecodePlan PlanDecode(const DecodePlanShape& shape);

// Bytes of the largest plan of `sequences` sequences.
size_t DecodePlanBytes(int sequences, int kv_heads, int tiles, int blocks);

}  // namespace baton::kernels
