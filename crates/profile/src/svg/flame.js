(function () {
  "use strict";
  var svg = document.documentElement;
  var frames = Array.prototype.slice.call(svg.querySelectorAll("g.f"));
  var status = document.getElementById("status");
  var reset = document.getElementById("reset");
  var left = +svg.getAttribute("data-left");
  var width = +svg.getAttribute("data-width");
  var perChar = +svg.getAttribute("data-char");

  frames.forEach(function (g) {
    var rect = g.querySelector("rect");
    g.x = +rect.getAttribute("x");
    g.w = +rect.getAttribute("width");
    g.depth = +g.getAttribute("data-d");
    g.name = g.getAttribute("data-n");
    g.tip = g.querySelector("title").textContent;
  });

  function label(g, w) {
    var text = g.querySelector("text");
    var fits = Math.floor((w - 6) / perChar);
    if (!text) {
      if (fits < 3) return;
      text = document.createElementNS("http://www.w3.org/2000/svg", "text");
      text.setAttribute("y", +g.querySelector("rect").getAttribute("y") + 11);
      g.appendChild(text);
    }
    text.textContent =
      fits < 3 ? "" : g.name.length <= fits ? g.name : g.name.slice(0, fits - 2) + "..";
    text.setAttribute("x", +g.querySelector("rect").getAttribute("x") + 3);
  }

  function zoom(to) {
    var start = to ? to.x : left;
    var scale = width / (to ? to.w : width);
    frames.forEach(function (g) {
      // What contains the chosen frame fills the row; what it contains is scaled.
      var holds = to && g.depth < to.depth && g.x <= to.x + 0.01 && g.x + g.w >= to.x + to.w - 0.01;
      var x = holds ? left : left + (g.x - start) * scale;
      var w = holds ? width : g.w * scale;
      var inside = holds || (x > left - 0.01 && x + w < left + width + 0.01 && (!to || g.depth >= to.depth));
      g.style.display = inside ? "" : "none";
      g.style.opacity = holds ? 0.6 : 1;
      if (!inside) return;
      var rect = g.querySelector("rect");
      rect.setAttribute("x", x);
      rect.setAttribute("width", Math.max(w, 0.1));
      label(g, w);
    });
    reset.style.display = to ? "" : "none";
  }

  function search() {
    var term = prompt("Find functions whose name contains:", "");
    if (term === null) return;
    var found = 0;
    frames.forEach(function (g) {
      var hit = term !== "" && g.name.indexOf(term) >= 0;
      g.classList.toggle("hit", hit);
      if (hit) found += 1;
    });
    status.textContent = term === "" ? "" : found + " frames match " + term;
  }

  svg.addEventListener("click", function (event) {
    var g = event.target.closest ? event.target.closest("g") : null;
    if (event.target.id === "search") search();
    else if (event.target.id === "reset") zoom(null);
    else if (g && g.classList.contains("f")) zoom(g);
  });
  svg.addEventListener("mouseover", function (event) {
    var g = event.target.closest ? event.target.closest("g.f") : null;
    if (g) status.textContent = g.tip.replace(/\s*\n\s*/g, ", ");
  });
  window.addEventListener("keydown", function (event) {
    if (event.key === "Escape") zoom(null);
    if (event.key === "F3" || ((event.ctrlKey || event.metaKey) && event.key === "f")) {
      event.preventDefault();
      search();
    }
  });
})();
