// How old the page of a run in progress is: nobody draws it again once the run was killed.
"use strict";

(() => {
  const place = document.getElementById("age");
  if (!place) return;
  const written = Date.parse(place.dataset.written);
  const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60]];

  function tell() {
    const seconds = (Date.now() - written) / 1000;
    const [unit, size] = UNITS.find(([, length]) => seconds >= length) || ["", 0];
    if (!unit) return;
    const count = Math.floor(seconds / size);
    const why = unit === "minute" ? "." : ": either nothing new was found since, or the run is over.";
    place.textContent = `This page is ${count} ${unit}${count === 1 ? "" : "s"} old${why}`;
  }
  tell();
  setInterval(tell, 30000);
})();
