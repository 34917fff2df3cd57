// What a pass forward through layers keeps for the way back. Where a library compiles products for their sizes, its
// arrays have gaps behind each part, so that few sizes come up.

#pragma once

#include <ATen/core/ivalue.h>

#include <utility>
#include <vector>

#include "layer.h"
#include "products.h"

namespace covalign {

template <typename T>
using Layers = std::vector<Layer<T>>;

template <typename T>
at::Tensor room(int64_t rows, int64_t width) {
  return at::empty({rows, width}, kind_of<T>);
}

template <typename T>
Parts parts_of(const Layers<T>& layers) {
  const Layer<T>& any = layers.front();
  return parts_of(any.begins(), any.rows(), takes_onednn() ? kFewSizes : Grain());
}

// Makes a layer's arrays, with zeros in the gaps.
struct Maker {
  const Parts& parts;
  bool first;
  std::vector<at::Tensor> made;
  template <typename E>
  E* all(int64_t width) {
    return make<E>(parts.tokens, width, [](const Part& part) { return part.tokens; });
  }
  template <typename E>
  E* asked(int64_t width) {
    if (!first) return all<E>(width);
    return make<E>(parts.rows, width, [](const Part& part) { return part.rows; });
  }

 private:
  template <typename E, typename Of>
  E* make(int64_t rows, int64_t width, Of of) {
    const at::Tensor x = room<E>(rows, width);
    made.push_back(x);
    for (size_t i = 0; parts.has_gaps && i < parts.each.size(); i++) {
      const Span here = of(parts.each[i]);
      const int64_t begin = here.range.end + here.before;
      const int64_t end = i + 1 < parts.each.size() ? here.range.begin + here.before + here.room : rows;
      x.narrow(0, begin, end - begin).zero_();
    }
    return data<E>(x);
  }
};

// Hands what a Maker made out again, so that a part's rows lie where their numbers say.
struct Finder {
  const std::vector<at::Tensor>& made;
  int64_t tokens_before, asked_before;
  size_t next = 0;
  template <typename E>
  E* all(int64_t width) {
    return data<E>(made[next++]) + tokens_before * width;
  }
  template <typename E>
  E* asked(int64_t width) {
    return data<E>(made[next++]) + asked_before * width;
  }
};

// What a pass keeps for the way back.
template <typename T>
struct Kept : torch::CustomClassHolder {
  Layers<T> layers;
  Parts parts;
  // What each layer takes, and its other arrays.
  std::vector<at::Tensor> states;
  std::vector<std::vector<at::Tensor>> arrays;

  // Memory for what is computed from x.
  Kept(const Layers<T>& of, const at::Tensor& x) : layers(of), parts(parts_of(of)) {
    states.push_back(x);
    if (parts.has_gaps) {
      states[0] = state();
      for (const Part& part : parts.each) {
        const Range& tokens = part.tokens.range;
        const auto rows = [&](const at::Tensor& t, int64_t from) { return t.narrow(0, from, tokens.size()); };
        rows(states[0], tokens.begin + part.tokens.before).copy_(rows(x, tokens.begin));
      }
    }
    for (const Layer<T>& l : layers) {
      if (&l != &layers.front()) states.push_back(state());
      Maker maker{parts, l.first, {}};
      laid_out(l, maker);
      arrays.push_back(std::move(maker.made));
    }
  }

  // A layer's arrays for a part, but for what the last one puts out; without a part, as they lie.
  Passed<T> at(size_t layer, const Part& part = {}) const {
    const Layer<T>& l = layers[layer];
    Finder finder{arrays[layer], part.tokens.before, l.asked(part).before};
    Passed<T> p = laid_out(l, finder);
    const auto from = [&](const at::Tensor& x) { return data<T>(x) + part.tokens.before * l.width; };
    p.x = from(states[layer]);
    if (layer + 1 < layers.size()) p.y = from(states[layer + 1]);
    return p;
  }

  // Frees the memory of the topmost layer.
  void drop_last() {
    arrays.pop_back();
    states.pop_back();
    layers.pop_back();
  }

 private:
  at::Tensor state() const {
    Maker maker{parts, false, {}};
    maker.all<T>(layers.front().width);
    return maker.made[0];
  }
};

}  // namespace covalign
