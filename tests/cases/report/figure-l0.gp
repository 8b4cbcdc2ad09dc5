# How many latents a token has
# Made by quasar; `gnuplot l0.gp` draws l0.tsv into l0.svg.
set encoding utf8
set terminal svg size 480,375 dynamic font 'sans-serif,14' enhanced
set output 'l0.svg'
set border linecolor rgb 'black'
set grid linecolor rgb '#888888' linewidth 0.5 dashtype 3
set tics nomirror
set key noenhanced samplen 1.5 spacing 1.1
set xlabel 'L0 of a token' noenhanced offset 0,0.4
set xrange [0.92:3.08]
set ylabel 'percent' noenhanced
set yrange [-3:78]
set key outside below center horizontal maxcols 2 Left reverse height 0.6
plot 'l0.tsv' index 0 using 1:2 with lines lw 1.4 lc rgb '#009e73' title 'topk k=8' noenhanced
