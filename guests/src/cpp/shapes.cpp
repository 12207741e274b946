// C++: templates and virtual calls, so names that must be demangled. No standard library of C++
// and no exceptions, which Debian's WASI packages do not have for this compiler.
#include "../c/scale.h"
#include <stdio.h>

namespace geometry {

class Shape {
public:
    virtual double area() const = 0;
    virtual void grow(double factor) = 0;
};

class Circle final : public Shape {
    double radius;

public:
    explicit Circle(double r) : radius(r) {}
    NOINLINE double area() const override { return 3.141592653589793 * radius * radius; }
    NOINLINE void grow(double factor) override { radius = radius * factor > 100 ? 1 : radius * factor; }
};

class Polygon final : public Shape {
    static constexpr int corners = 16;
    double x[corners], y[corners];

public:
    explicit Polygon(double size) {
        for (int i = 0; i < corners; i++) {
            x[i] = size * (i < corners / 2 ? i : corners - i);
            y[i] = size * (i * i % 7);
        }
    }
    NOINLINE double area() const override {
        double twice = 0;
        for (int i = 0; i < corners; i++) {
            int next = (i + 1) % corners;
            twice += x[i] * y[next] - x[next] * y[i];
        }
        return twice < 0 ? -twice / 2 : twice / 2;
    }
    NOINLINE void grow(double factor) override {
        double by = x[1] * factor > 100 ? 0.01 : factor;
        for (int i = 0; i < corners; i++) {
            x[i] *= by;
            y[i] *= by;
        }
    }
};

} // namespace geometry

template <typename T, int N> struct Ring {
    T items[N];
    int next = 0;

    NOINLINE void push(T item) {
        items[next] = item;
        next = (next + 1) % N;
    }

    template <typename F> NOINLINE T fold(T start, F &&step) const {
        for (int i = 0; i < N; i++) {
            start = step(start, items[i]);
        }
        return start;
    }
};

int main(int argc, char **argv) {
    uint32_t scale = scale_of(argc, argv);
    geometry::Circle circle(1), wheel(7);
    geometry::Polygon field(1), garden(3);
    geometry::Shape *const shapes[] = {&circle, &field, &wheel, &garden};
    Ring<double, 64> recent{};
    uint64_t sum = 0;
    for (uint32_t i = 0; i < scale * 24000; i++) {
        for (int k = 0; k < 16; k++) {
            geometry::Shape *shape = shapes[(i + k) % 4];
            shape->grow(1.01);
            recent.push(shape->area());
        }
        sum = mix(sum, (uint64_t)recent.fold(0.0, [](double a, double b) { return a * 0.5 + b; }));
    }
    printf("shapes %016llx\n", (unsigned long long)sum);
    return 0;
}
